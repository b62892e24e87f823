"""Compressed bodies, unpacked under a bound: few bytes on the wire must not become very many in memory.

Not left to aiohttp, which takes a gzip stream that was cut off for a whole one, and whose two parsers
count what was on the wire differently.
"""

from __future__ import annotations

import zlib

from ._wire import Unreadable

ACCEPTED = "gzip, deflate"
"""What is asked for."""
ALWAYS_ALLOWED = 2 * 2**20
"""Bytes that any compressed reply may become."""
LARGEST_RATIO = 500
"""Of what came out to what went in, beyond that size. Measured: 40 MB of assistants that differ only in name and id
are packed 60 to 125 to 1, with prompts that repeat one sentence up to 370 to 1, a bomb 1,030 to 1."""
STEP = ALWAYS_ALLOWED // LARGEST_RATIO
"""Bytes after which the ratio is asked again: a bomb ends as soon as it explodes."""
MOST_MEMBERS = 16


def unpack(packed: bytes | bytearray, encoding: str, most: int) -> bytes | bytearray:
    """The body, of at most `most` bytes, that stands in `packed`. Raises `Unreadable`."""
    bits = _window_bits(encoding.strip().lower(), packed)
    if bits is None or not packed:
        return packed
    whole = bytearray()
    member, members = zlib.decompressobj(bits), 1
    at = 0
    while at < len(packed):
        piece = packed[at : at + STEP]
        at += len(piece)
        allowed = min(most, max(ALWAYS_ALLOWED, LARGEST_RATIO * at))
        try:
            whole += member.decompress(piece, allowed - len(whole) + 1)
        except zlib.error:
            raise Unreadable("the reply is not compressed as it says") from None
        if len(whole) > allowed:
            raise Unreadable(f"the reply is larger than {allowed // 2**20} MiB when unpacked")
        if member.eof:
            at -= len(member.unused_data)
            if at < len(packed):
                member, members = zlib.decompressobj(bits), members + 1
            if members > MOST_MEMBERS:
                raise Unreadable("the reply is compressed in too many parts")
    if not member.eof:
        raise Unreadable("the compressed reply broke off before its end")
    return whole


def _window_bits(encoding: str, packed: bytes | bytearray) -> int | None:
    """What zlib wants to be told of an encoding; None for any other.

    What is called by another name is left as it is: some servers write a charset there, and what can be read as
    JSON was not encoded.
    """
    if encoding in ("gzip", "x-gzip"):
        return 16 + zlib.MAX_WBITS
    if encoding == "deflate":  # with zlib's header, as it should be, or without
        return zlib.MAX_WBITS if packed and packed[0] & 0x0F == 8 else -zlib.MAX_WBITS
    return None
