"""Compressed, or said to be."""

from __future__ import annotations

import functools
import gzip
import zlib
from collections.abc import Callable

from tests.hostile.case import ALL, Case, as_it_is, chunked, status


def _encoded(name: str, encoding: str, pack: Callable[[bytes], bytes] = as_it_is, **more: object) -> Case:
    head = status("200 OK", f"Content-Encoding: {encoding}")
    return Case(name=f"{encoding}: {name}", head=head, pack=pack, **{"operations": ALL, "right": "d", **more})  # type: ignore[arg-type]


def _raw(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


def _wrong_crc(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return packed[:-8] + bytes([packed[-8] ^ 1]) + packed[-7:]


def _wrong_size(body: bytes) -> bytes:
    packed = gzip.compress(body)
    return packed[:-1] + bytes([packed[-1] ^ 1])


def bomb(size: int, layers: int = 1) -> Callable[[bytes], bytes]:
    """A packer that ignores the body: spaces without end, compressed."""

    return lambda _: _bomb(size, layers)


@functools.cache
def _bomb(size: int, layers: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    head, block = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH), b""
    for _ in range(2):  # the first is special
        block = packer.compress(b" " * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)
    packed = head + block * (size // 2**20) + packer.flush()  # its checksum is wrong: nobody comes that far
    for _ in range(layers - 1):
        packed = gzip.compress(packed, 9)
    return packed


def _many_members(body: bytes) -> bytes:
    return b"".join(gzip.compress(body[at : at + 1]) for at in range(len(body)))


def _zlib_bomb(_: bytes) -> bytes:
    return b"\x78\xda" + _bomb(200 * 2**20, 1)[10:-8] + bytes(4)  # of gzip's, without its head and end


CASES = (
    _encoded("right", "gzip", gzip.compress, right=ALL),
    _encoded("right", "x-gzip", gzip.compress, right=ALL),
    _encoded("right", "GZip", gzip.compress, right=ALL),
    _encoded("right", "deflate", zlib.compress, right=ALL),
    _encoded("without a header", "deflate", _raw, right=ALL),
    _encoded("right", "identity", right=ALL),
    _encoded("in two members", "gzip", lambda b: gzip.compress(b[:9]) + gzip.compress(b[9:]), right=ALL),
    _encoded("in a member for each byte", "gzip", _many_members),
    _encoded("it is not", "gzip"),
    _encoded("it is not", "deflate"),
    _encoded("it is not", "br", right=ALL),
    _encoded("it is not", "zstd", right=ALL),
    _encoded("it is not", "compress", right=ALL),
    _encoded("it is not", "aes128gcm", right=ALL),
    _encoded("it is not", "x" * 5000, right=ALL),
    _encoded("a charset", "utf-8", right=ALL),
    _encoded("it is deflate", "gzip", zlib.compress),
    _encoded("it is gzip", "deflate", gzip.compress),
    _encoded("it is gzip", "br", gzip.compress),
    _encoded("nothing", "gzip", lambda _: b""),
    _encoded("only a head", "gzip", lambda body: gzip.compress(body)[:10]),
    _encoded("cut", "gzip", lambda body: gzip.compress(body)[:-12]),
    _encoded("cut before its checksum", "gzip", lambda body: gzip.compress(body)[:-8]),
    _encoded("cut", "deflate", lambda body: zlib.compress(body)[:-5]),
    _encoded("wrong checksum", "gzip", _wrong_crc),
    _encoded("wrong length", "gzip", _wrong_size),
    _encoded("wrong checksum", "deflate", lambda body: zlib.compress(body)[:-1] + b"\x00"),
    _encoded("wrong method", "gzip", lambda body: b"\x1f\x8b\x09" + gzip.compress(body)[3:]),
    _encoded("junk after it", "gzip", lambda body: gzip.compress(body) + b"junk"),
    _encoded("a dictionary is needed", "deflate", lambda _: b"\x78\xbb\x00\x00\x00\x00\x00"),
    _encoded("both", "gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
    _encoded("both", "gzip, deflate", lambda body: zlib.compress(gzip.compress(body))),
    _encoded("in two layers", "gzip", lambda body: gzip.compress(gzip.compress(body))),
    Case(
        name="two headers that differ",
        head=status("200 OK", "Content-Encoding: identity", "Content-Encoding: gzip"),
        pack=gzip.compress,
        operations=ALL,
        right="d",
    ),
    Case(
        name="gzip in chunks",
        head=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        pack=lambda body: chunked(gzip.compress(body)),
        operations=ALL,
        right=ALL,
    ),
    Case(
        name="gzip until the end, cut",
        head=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n",
        pack=lambda body: gzip.compress(body)[:-8],
        then="fin",
        operations=ALL,
        right="d",
    ),
    _encoded("200 MiB", "gzip", bomb(200 * 2**20), is_heavy=True),
    _encoded("200 MiB", "deflate", _zlib_bomb, is_heavy=True),
    _encoded("200 MiB in two layers", "gzip", bomb(200 * 2**20, 2), is_heavy=True),
    _encoded("200 MiB in two layers", "gzip, gzip", bomb(200 * 2**20, 2), is_heavy=True),
    _encoded(
        "8 MiB of empty objects",
        "gzip",
        lambda body: gzip.compress(body[:-1] + b',"more":[' + b"{}," * 2_800_000 + b"1]}"),
        operations="cgu",
        right="",
        is_heavy=True,
    ),
    _encoded("15 members of 14 MiB", "gzip", lambda b: 15 * bomb(14 * 2**20)(b), is_heavy=True),
    Case(
        name="an error of 200 MiB",
        head=status("422 No", "Content-Encoding: gzip"),
        pack=bomb(200 * 2**20),
        unknown=False,
        operations=ALL,
        is_heavy=True,
    ),
    Case(
        name="an error in gzip",
        head=status("500 Oops", "Content-Encoding: gzip"),
        pack=gzip.compress,
        operations=ALL,
    ),
    Case(
        name="an error in gzip, and is not",
        head=status("404 None", "Content-Encoding: gzip"),
        unknown=False,
        operations=ALL,
    ),
)
