"""Compressed bodies, unpacked under a bound: few bytes on the wire must not become very many in memory.

Not left to aiohttp, which takes a gzip stream that was cut off for a whole one, and whose two parsers
count what was on the wire differently.
"""

from __future__ import annotations

import zlib

from ._wire import Unreadable

ACCEPTED = "gzip, deflate"
"""What is asked for."""
ALWAYS_ALLOWED = 16 * 2**20
"""Bytes that any compressed reply may become."""
LARGEST_RATIO = 250
"""Beyond that size: 10,000 assistants that differ only in name and id are packed 150 to 1, a bomb 1,000 to 1."""
MOST_MEMBERS = 16


def unpack(packed: bytes | bytearray, encoding: str, most: int) -> bytes | bytearray:
    """The body, of at most `most` bytes, that stands in `packed`. Raises `Unreadable`."""
    room = allowed = min(most, max(ALWAYS_ALLOWED, LARGEST_RATIO * len(packed)))
    bits = _window_bits(encoding.strip().lower(), packed)
    if bits is None or not packed:
        return packed
    members: list[bytes] = []
    while len(members) < MOST_MEMBERS:
        member = zlib.decompressobj(bits)
        try:
            members.append(member.decompress(packed, room + 1))
        except zlib.error:
            raise Unreadable("the reply is not compressed as it says") from None
        room -= len(members[-1])
        if room < 0:
            raise Unreadable(f"the reply is larger than {allowed // 2**20} MiB when unpacked")
        if not member.eof:
            raise Unreadable("the compressed reply broke off before its end")
        packed = member.unused_data
        if not packed:
            return members[0] if len(members) == 1 else b"".join(members)
    raise Unreadable("the reply is compressed in too many parts")


def _window_bits(encoding: str, packed: bytes | bytearray) -> int | None:
    """What zlib wants to be told of an encoding; None where nothing is encoded."""
    if encoding in ("", "identity"):
        return None
    if encoding in ("gzip", "x-gzip"):
        return 16 + zlib.MAX_WBITS
    if encoding == "deflate":  # with zlib's header, as it should be, or without
        return zlib.MAX_WBITS if packed and packed[0] & 0x0F == 8 else -zlib.MAX_WBITS
    raise Unreadable("the reply is encoded in a way that was not asked for")
