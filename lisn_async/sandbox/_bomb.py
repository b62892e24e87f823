"""A little gzip that unpacks to 200 MB."""

import struct
import zlib
from functools import cache

_PIECE = b"a" * 1_000_000
_PIECES = 200
_HEAD = bytes.fromhex("1f8b 08 00 00000000 00 03")  # gzip, deflate, no flags, no time


@cache
def bomb() -> bytes:
    """About 200 KB: gzip of an assistant, in correct JSON, whose name has 200 million letters.

    Nothing here ever holds the whole. A piece that ends in a full flush depends on none before it, so one
    compressed piece can stand there as often as one likes; only the checksum has to walk the whole way.
    """
    before, after = b'{"id":"ast_000000000000","name":"', b'"}'
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    start = packer.compress(before) + packer.flush(zlib.Z_FULL_FLUSH)
    piece = packer.compress(_PIECE) + packer.flush(zlib.Z_FULL_FLUSH)
    end = packer.compress(after) + packer.flush(zlib.Z_FINISH)
    checksum = zlib.crc32(before)
    for _ in range(_PIECES):
        checksum = zlib.crc32(_PIECE, checksum)
    checksum = zlib.crc32(after, checksum)
    length = len(before) + _PIECES * len(_PIECE) + len(after)
    return _HEAD + start + piece * _PIECES + end + struct.pack("<II", checksum, length)
