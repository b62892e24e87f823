"""What is JSON, nearly JSON, and not JSON; and what the head says that it is."""

from __future__ import annotations

from tests.hostile.case import ALL, RIGHT, Case, status

MORE = b',"more":$V}'


def _text(name: str, body: bytes, **more: object) -> Case:
    """A body that is not put into an array."""
    return Case(name=name, body=body, is_whole=True, **{"operations": ALL, "right": "d", **more})  # type: ignore[arg-type]


def _value(name: str, value: bytes, **more: object) -> Case:
    """The right object with one more, undocumented field."""
    body = RIGHT[:-1] + MORE.replace(b"$V", value)
    return Case(name=name, body=body, **{"operations": ALL, "right": "d", **more})  # type: ignore[arg-type]


def _typed(name: str, kind: str | None, **more: object) -> Case:
    head = status("200 OK") if kind is None else status("200 OK", f"Content-Type: {kind}")
    return Case(name=f"content type: {name}", head=head, **{"operations": ALL, "right": ALL, **more})  # type: ignore[arg-type]


def _extra(value: object) -> dict[str, object]:
    return {"extra": {"more": value}}


DEEP = 100_000
CASES = (
    _value("NaN", b"NaN"),
    _value("Infinity", b"Infinity"),
    _value("-Infinity", b"-Infinity"),
    _value("1e999", b"1e999"),
    _value("1e999 beside a lone surrogate", b'["\\ud800",1e999]'),
    _value("NaN beside a lone surrogate", b'["\\ud800",NaN]'),
    _value("400 digits beside a lone surrogate", b'["\\ud800",' + b"1" * 400 + b"]"),
    _value("5,000 digits beside a lone surrogate", b'["\\ud800",' + b"1" * 5000 + b"]"),
    _value(
        "40 digits beside a lone surrogate",
        b'["\\ud800",' + b"1" * 40 + b"]",
        right=ALL,
        expect=_extra(["\ud800", 1.1111111111111112e39]),
    ),
    _value("a lone surrogate", b'"\\ud800"', right=ALL, expect=_extra("\ud800")),
    _value("a lone surrogate as a name", b'{"\\udfff":1}', right=ALL, expect=_extra({"\udfff": 1})),
    _value("a surrogate pair", b'"\\ud83d\\ude00"', right=ALL, expect=_extra("\U0001f600")),
    _value("a surrogate in raw UTF-8", b'"\xed\xa0\x80"'),
    _value("half a character", b'"\xc3"'),
    _value("an overlong character", b'"\xc0\xaf"'),
    _value("Latin-1", b'"caf\xe9"'),
    _value("a raw NUL", b'"\x00"'),
    _value("an escaped NUL", b'"\\u0000"', right=ALL, expect=_extra("\x00")),
    _value("a raw newline in a string", b'"a\nb"'),
    _value("an escape that is none", b'"\\x41"'),
    _value("an escape that is cut", b'"\\u12"'),
    _value("400 digits", b"1" * 400),
    _value("40 digits", b"1" * 40, right=ALL, expect=_extra(1.1111111111111112e39)),
    _value("a million digits", b"1" * 10**6),
    _value(
        "a million digits after the point", b"0." + b"1" * 10**6, right=ALL, expect=_extra(0.1111111111111111)
    ),
    _value("2**63", b"9223372036854775808", right=ALL, expect=_extra(2**63)),
    _value("-0.0", b"-0.0", right=ALL, expect=_extra(-0.0)),
    _value("a number with leading zeros", b"007"),
    _value("a hexadecimal number", b"0x10"),
    _value("a plus", b"+1"),
    _value("a point and no digits", b"1."),
    _value("single quotes", b"'x'"),
    _value("a trailing comma", b"[1,]"),
    _value("a comment", b"1/*x*/"),
    _value("undefined", b"undefined"),
    _value("True", b"True"),
    _value("a string of 1 MiB", b'"' + b"x" * 2**20 + b'"', right=ALL, expect=_extra("x" * 2**20)),
    _value("a string that does not end", b'"' + b"x" * 1000),
    _value("500 deep", b"[" * 500 + b"]" * 500, right=ALL, expect={}),
    _value("100,000 deep", b"[" * DEEP + b"]" * DEEP),
    _value("100,000 deep beside a lone surrogate", b'["\\ud800",' + b"[" * DEEP + b"]" * DEEP + b"]"),
    _value("100,000 deep objects", b'{"a":' * DEEP + b"1" + b"}" * DEEP),
    _value("100,000 arrays", b"[" + b"[]," * DEEP + b"1]", right=ALL, expect={}),
    _value(
        "100,000 names", b"{" + b",".join(b'"%d":1' % n for n in range(DEEP)) + b"}", right=ALL, expect={}
    ),
    Case(
        name="300,000 objects",
        body=RIGHT[:-1] + b',"more":[' + b"{}," * 300_000 + b"1]}",
        operations="cgl",
        right=ALL,
        is_heavy=True,
    ),
    Case(
        name="a string of 15 MiB",
        body=RIGHT[:-1] + b',"more":"' + b"x" * (15 * 2**20) + b'"}',
        operations="cgl",
        right=ALL,
        is_heavy=True,
    ),
    Case(
        name="a string of 17 MiB",
        body=RIGHT[:-1] + b',"more":"' + b"x" * (17 * 2**20) + b'"}',
        operations="cg",
        is_heavy=True,
    ),
    Case(
        name="the same name twice",
        body=RIGHT[:-1] + b',"name":"Second"}',
        operations=ALL,
        right=ALL,
        expect={"name": "Second"},
    ),
    Case(name="the same id twice", body=RIGHT[:-1] + b',"id":"ast_second"}', operations="gud", right="d"),
    Case(
        name="an id in escapes",
        body=RIGHT.replace(b"ast_", b"\\u0061st_").replace(b"$ID", b"ast_1"),
        operations="gu",
        right="gu",
    ),
    _text("a BOM", b"\xef\xbb\xbf" + RIGHT),
    _text("a BOM before a lone surrogate", b"\xef\xbb\xbf" + RIGHT[:-1] + b',"more":"\\ud800"}'),
    _text("UTF-16", RIGHT.decode().replace("$ID", "ast_1").encode("utf-16")),
    _text("UTF-16 without BOM", RIGHT.decode().replace("$ID", "ast_1").encode("utf-16-le")),
    _text("UTF-32", RIGHT.decode().replace("$ID", "ast_1").encode("utf-32")),
    _text("UTF-7", b"+AHsAIg-id+ACI-:1+AH0-"),
    _text("EBCDIC", RIGHT.decode().replace("$ID", "ast_1").encode("cp500")),
    _text("junk after the document", RIGHT + b" junk"),
    _text("a NUL after the document", RIGHT + b"\x00"),
    _text("two documents", RIGHT + RIGHT),
    _text("two documents in lines", RIGHT + b"\n" + RIGHT),
    _text("a guard against scripts", b")]}',\n" + RIGHT),
    _text("JSONP", b"callback(" + RIGHT + b")"),
    _text("server-sent events", b"data: " + RIGHT + b"\n\n"),
    _text("HTML", b"<!DOCTYPE html><html><body>502</body></html>"),
    _text("XML", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>"),
    _text("MessagePack", b"\x82\xa2id\xa5ast_1\xa4name\xa5Right"),
    _text("a pickle", b"cos\nsystem\n(S'true'\ntR."),
    _text("null", b"null"),
    _text("true", b"true"),
    _text("a number", b"12"),
    _text("a string", b'"ast_1"'),
    _text("spaces", b" \t\r\n "),
    _text("an empty object", b"{}"),
    _text("an array of the wrong depth", b"[[" + RIGHT + b"]]"),
    _text("JSON in a JSON string", b'"{\\"id\\":\\"ast_1\\"}"'),
    Case(name="spaces around it", pack=lambda body: b"\r\n\t " + body + b" \r\n", operations=ALL, right=ALL),
    _typed("none", None),
    _typed("text/html", "text/html"),
    _typed("a bogus charset", "application/json; charset=bogus-charset"),
    _typed("UTF-16, and is not", "application/json; charset=utf-16"),
    _typed("a charset that executes", "application/json; charset=rot13"),
    _typed("multipart", "multipart/form-data; boundary=x"),
    _typed("an event stream", "text/event-stream"),
    _typed("nonsense", ";;;=,,,"),
    _typed("7,000 parameters", "application/json" + ";a=b" * 1700),
)
