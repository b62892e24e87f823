"""Ids that look random, never repeat and come out the same under the same seed."""

import hashlib

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: none of i, l, o, u to be misread
_BITS = 60  # twelve characters of five bits
_MASK = (1 << _BITS) - 1
_LENGTH = _BITS // 5


def assistant_id(seed: int, number: int) -> str:
    """`ast_…`, a different one for every `number`.

    Each step below can be undone (xor with a constant, multiplication by an odd number, xor with the own
    upper half), so two numbers can never meet in one id: uniqueness is arithmetic, not luck.
    """
    value = (number ^ _key(seed)) & _MASK
    value = value * 0x9E3779B97F4A7C15 & _MASK
    value ^= value >> _BITS // 2
    value = value * 0xD1B54A32D192ED03 & _MASK
    value ^= value >> _BITS // 2
    return "ast_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(0, _BITS, 5))


_keys: dict[int, int] = {}


def _key(seed: int) -> int:
    if seed not in _keys:
        digest = hashlib.blake2b(str(seed).encode(), digest_size=8).digest()
        _keys[seed] = int.from_bytes(digest, "big")
    return _keys[seed]
