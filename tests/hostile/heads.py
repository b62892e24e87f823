"""Status lines and headers."""

from __future__ import annotations

from tests.hostile.case import ALL, HEAD, Case, status

OK = b"HTTP/1.1 200 OK\r\n"
REST = b"Content-Length: $N\r\n\r\n"


def _line(name: str, line: bytes, **more: object) -> Case:
    """A status line, and the right reply after it."""
    return Case(name=name, head=line + REST, **{"then": "fin", **more})  # type: ignore[arg-type]


def _header(name: str, header: bytes, **more: object) -> Case:
    """A header among right ones."""
    return Case(name=name, head=OK + header + REST, **{"then": "fin", **more})  # type: ignore[arg-type]


CASES = (
    Case(name="nothing, FIN", head=b"", pack=lambda _: b"", then="fin"),
    Case(name="nothing, RST", head=b"", pack=lambda _: b"", then="rst"),
    Case(name="nothing for ever", head=b"", pack=lambda _: b"", then="hang", operations="cg"),
    _line("no status", b"HTTP/1.1\r\n"),
    _line("status of two digits", b"HTTP/1.1 20 OK\r\n"),
    _line("status of four digits", b"HTTP/1.1 2000 OK\r\n"),
    _line("status in letters", b"HTTP/1.1 abc OK\r\n"),
    _line("negative status", b"HTTP/1.1 -20 OK\r\n"),
    _line("status with a plus", b"HTTP/1.1 +20 OK\r\n"),
    _line("status in other digits", "HTTP/1.1 ٢٠٠ OK\r\n".encode()),
    _line("status 0", b"HTTP/1.1 000 Zero\r\n"),
    _line("status 99", b"HTTP/1.1 099 Low\r\n"),
    _line("status 199", b"HTTP/1.1 199 Odd\r\n"),
    _line("status 600", b"HTTP/1.1 600 High\r\n"),
    _line("status 999", b"HTTP/1.1 999 Highest\r\n"),
    _line("no reason", b"HTTP/1.1 200\r\n", right=ALL),
    _line("reason in UTF-8", "HTTP/1.1 200 Très bien\r\n".encode(), right=ALL),
    _line("reason in Latin-1", b"HTTP/1.1 200 Tr\xe8s bien\r\n", right=ALL),
    _line("reason with NUL", b"HTTP/1.1 200 O\x00K\r\n", either=ALL),
    _line("reason of 100 KB", b"HTTP/1.1 200 " + b"k" * 100_000 + b"\r\n"),
    _line("version 2.0", b"HTTP/2.0 200 OK\r\n", either=ALL),
    _line("version 9.9", b"HTTP/9.9 200 OK\r\n", either=ALL),
    _line("version of two digits", b"HTTP/1.10 200 OK\r\n"),
    _line("no version", b"HTTP/ 200 OK\r\n"),
    _line("another protocol", b"ICY 200 OK\r\n", either=ALL),
    _line("lower case protocol", b"http/1.1 200 OK\r\n"),
    _line("spaces before the status line", b"  HTTP/1.1 200 OK\r\n", either=ALL),
    _line("tabs in the status line", b"HTTP/1.1\t200\tOK\r\n", either=ALL),
    _line("empty lines before it", b"\r\n\r\n\r\nHTTP/1.1 200 OK\r\n", either=ALL),
    Case(name="HTTP/1.0 without a length", head=b"HTTP/1.0 200 OK\r\n\r\n", then="fin", right=ALL),
    Case(name="HTTP/0.9", head=b"", then="fin"),
    Case(name="a page of HTML and no head", head=b"<html><body>hello</body></html>\r\n\r\n", then="fin"),
    Case(name="HTTP/2 preface", head=b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", then="fin"),
    Case(name="HTTP/2 SETTINGS", head=b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18), then="fin"),
    Case(name="a TLS alert", head=b"\x15\x03\x03\x00\x02\x02\x28", pack=lambda _: b"", then="fin"),
    Case(name="an SSH banner", head=b"SSH-2.0-OpenSSH_9.2\r\n", pack=lambda _: b"", then="fin"),
    Case(name="an SMTP banner", head=b"220 mail ESMTP\r\n", pack=lambda _: b"", then="fin"),
    Case(name="our own request", head=b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", then="fin"),
    Case(name="zeros", head=bytes(5000), pack=lambda _: b"", then="fin"),
    Case(name="0xFF", head=b"\xff" * 5000, pack=lambda _: b"", then="fin"),
    Case(name="cut in the status line", head=b"HTTP/1.1 20", pack=lambda _: b"", then="fin"),
    Case(name="cut in a header", head=OK + b"Content-Le", pack=lambda _: b"", then="fin", either="d"),
    Case(name="cut in a header, RST", head=OK + b"Content-Le", pack=lambda _: b"", then="rst"),
    Case(
        name="cut in a header, hanging",
        head=OK + b"Content-Le",
        pack=lambda _: b"",
        then="hang",
        operations="cg",
    ),
    _header("bare LF everywhere", b"", right=ALL),
    _header("a header of 100 KB", b"X-Long: " + b"x" * 100_000 + b"\r\n"),
    _header("a header name of 100 KB", b"x" * 100_000 + b": y\r\n"),
    _header("10,000 headers", b"".join(b"X-%d: y\r\n" % n for n in range(10_000))),
    _header("100 headers", b"".join(b"X-%d: y\r\n" % n for n in range(100)), right=ALL),
    _header("a header without a colon", b"nonsense\r\n"),
    _header("a header without a name", b": value\r\n"),
    _header("a space before the colon", b"X-Odd : value\r\n"),
    _header("a space in a name", b"X Odd: value\r\n"),
    _header("NUL in a value", b"X-Odd: a\x00b\r\n"),
    _header("NUL in a name", b"X-\x00dd: ab\r\n"),
    _header("control characters in a value", b"X-Odd: \x01\x1b[31m\x7f\r\n", either=ALL),
    _header("CR in a value", b"X-Odd: a\rb\r\n", either=ALL),
    _header("a folded header", b"X-Odd: a\r\n b\r\n\tc\r\n", either=ALL),
    _header("a folded first line", b" folded\r\n", either=ALL),
    _header("a value in Latin-1", b"X-Odd: \xe8\xff\r\n", right=ALL),
    _header("a name in UTF-8", "X-Ünicode: y\r\n".encode()),
    _header(
        "two content types", b"Content-Type: text/html\r\nContent-Type: application/json\r\n", either=ALL
    ),
    _header("an upgrade to h2c", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", either=ALL),
    _header("an upgrade to websocket", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", either=ALL),
    _header("a request id of odd bytes", b"X-Request-Id: \xff\xfe\r\n", right=ALL),
    Case(
        name="bare LF",
        head=b"HTTP/1.1 200 OK\nContent-Type: application/json\nContent-Length: $N\n\n",
        then="fin",
        either=ALL,
    ),
    Case(name="bare CR", head=b"HTTP/1.1 200 OK\rContent-Length: $N\r\r", then="fin"),
    Case(name="101", head=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", then="fin"),
    Case(
        name="101 to websocket",
        head=b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        then="fin",
    ),
    Case(name="100 and then the reply", head=b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD, right=ALL),
    Case(
        name="103 with headers and then the reply",
        head=b"HTTP/1.1 103 Early Hints\r\nLink: </x>; rel=next\r\n\r\n" + HEAD,
        right=ALL,
    ),
    Case(name="100 and FIN", head=b"HTTP/1.1 100 Continue\r\n\r\n", pack=lambda _: b"", then="fin"),
    Case(
        name="100 and nothing",
        head=b"HTTP/1.1 100 Continue\r\n\r\n",
        pack=lambda _: b"",
        then="hang",
        operations="cg",
    ),
    Case(
        name="3,000 times 102 and the reply", head=b"HTTP/1.1 102 Processing\r\n\r\n" * 3000 + HEAD, right=ALL
    ),
    Case(
        name="102 for ever",
        head=b"",
        pack=lambda _: b"",
        tail=b"HTTP/1.1 102 Processing\r\n\r\n" * 50,
        then="repeat tail",
        operations="c",
        is_heavy=True,
    ),
    Case(
        name="headers for ever",
        head=OK,
        pack=lambda _: b"",
        tail=b"X-More: y\r\n" * 100,
        then="repeat tail",
        is_heavy=True,
    ),
    Case(
        name="a line for ever",
        head=OK + b"X-Long: ",
        pack=lambda _: b"",
        tail=b"y" * 10_000,
        then="repeat tail",
        is_heavy=True,
    ),
    Case(
        name="a status line for ever",
        head=b"",
        pack=lambda _: b"",
        tail=b"y" * 10_000,
        then="repeat tail",
        is_heavy=True,
    ),
    Case(name="byte by byte", then="drip", right=ALL),
    *(
        Case(name=f"a redirect: {location}", head=status("302 Found", f"Location: {location}"), unknown=False)
        for location in (
            "http://127.0.0.1:1/v1/assistants",
            "/v1/assistants",
            "",
            "file:///etc/passwd",
            "http://user:password@127.0.0.1:1/",
            "//127.0.0.1:1/x",
            "http://[::1",
            "javascript:alert(1)",
            "x" * 8000,
        )
    ),
    Case(name="a redirect to nowhere", head=status("302 Found"), unknown=False),
    Case(name="a 307 elsewhere", head=status("307 T", "Location: http://127.0.0.1:1/"), unknown=False),
    Case(name="300 with alternatives", head=status("300 Multiple", "Alternates: x"), unknown=False),
    Case(
        name="304 for no question",
        head=b"HTTP/1.1 304 Not Modified\r\n\r\n",
        pack=lambda _: b"",
        unknown=False,
    ),
    *(
        Case(name=f"a cookie: {cookie[:20]!r}", head=status("200 OK", f"Set-Cookie: {cookie}"), right=ALL)
        for cookie in (
            "a=b; Domain=.com; Path=/",
            "=;;;=",
            "a" * 8000,
            "a=b; Expires=Thu, 99 Foo 9999999 99:99:99 GMT; Max-Age=1e99",
            'a="\\777\\x00"; é=ü',
            "; ".join(f"k{n}=v" for n in range(500)),
        )
    ),
    *(
        Case(
            name=f"{line} with Retry-After: {after[:20]}",
            head=status(line, f"Retry-After: {after}"),
            unknown=unknown,
        )
        for line, after, unknown in (
            ("429 Slow", "0", False),
            ("429 Slow", "-1", False),
            ("429 Slow", "9" * 4000, False),
            ("429 Slow", "Thu, 01 Jan 9999 00:00:00 +9999", False),
            ("503 Down", "0", False),
            ("503 Down", "NaN", True),
            ("503 Down", "Thu, 99 Jan 99999999999999999999 00:00:00 GMT", True),
        )
    ),
)
