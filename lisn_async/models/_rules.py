"""What the documentation allows in an assistant, as a table of checks (`assistants-api`, *Create Assistant*).

Each check takes a value and gives the reason why it is wrong, or None. Nothing here raises but the
two functions at the end, which collect every reason first.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias
from urllib.parse import urlsplit

from ..errors import ValidationError

Check: TypeAlias = Callable[[object], str | None]

REQUIRED = ("name", "type", "llm_provider", "system_prompt")
_REQUIRED = frozenset(REQUIRED)
STT_FIELDS = ("stt_provider", "stt_model", "stt_language")
CHOICES: Mapping[str, tuple[str, ...]] = {
    "type": ("voice", "text"),
    "stt_provider": ("elevenlabs", "whisper", "aisha"),
    "llm_provider": ("openai", "anthropic", "gemini", "grok"),
}

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SPACE_OR_CONTROL = re.compile(r"[\x00-\x20\x7f]")


def names_only(extra: Mapping[str, object] | None) -> str:
    """A `repr` of the keys alone: undocumented values may be anything, a secret included."""
    return "None" if extra is None else "{" + ", ".join(f"{key!r}: ..." for key in extra) + "}"


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return f"must be a string, not {type(value).__name__}"
    if value.isascii():  # the common case, and cheaper than encoding
        return None
    try:
        value.encode()
    except UnicodeEncodeError as error:
        return f"holds a lone surrogate at character {error.start}, which UTF-8 cannot carry"
    return None


def _required_text(value: object) -> str | None:
    return _text(value) if value != "" else "must not be empty"


def _one_of(choices: tuple[str, ...]) -> Check:
    def check(value: object) -> str | None:
        if isinstance(value, str) and value in choices:
            return None
        return f"must be one of {', '.join(choices)}, not {_shown(value)}"

    return check


def _shown(value: object) -> str:
    if not isinstance(value, str | int | float | bytes | None):
        return f"a {type(value).__name__}"  # whose own repr may fail, or be of any size
    try:
        text = repr(value)
    except ValueError:  # an int of thousands of digits
        return "a number of that size"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _temperature(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return f"must be a number, not {type(value).__name__}"
    if not 0.0 <= value <= 1.0:  # NaN is neither
        return f"must be between 0.0 and 1.0, not {_shown(value)}"
    return None


def _http_url(value: object) -> str | None:
    if (wrong := _text(value)) is not None:
        return wrong
    text = str(value)
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or _SPACE_OR_CONTROL.search(text):
        # The URL itself stays out of the message: it may carry credentials.
        return "must be an http:// or https:// URL with a host and without spaces"
    return None


_CHECKS: Mapping[str, Check] = {
    "name": _required_text,
    "type": _one_of(CHOICES["type"]),
    "description": _text,
    "stt_provider": _one_of(CHOICES["stt_provider"]),
    "stt_model": _text,
    "stt_language": _text,
    "llm_provider": _one_of(CHOICES["llm_provider"]),
    "llm_model": _text,
    "system_prompt": _required_text,
    "temperature": _temperature,
    "webhook_url": _http_url,
    "webhook_secret": _text,
}
_LOOSE_CHECKS: Mapping[str, Check] = {**_CHECKS, **dict.fromkeys(CHOICES, _required_text)}

FIELDS = tuple(_CHECKS)
"""The twelve documented fields, in the documentation's order."""


def _wrong_values(fields: Mapping[str, object], extra: object, *, strict: bool) -> dict[str, str]:
    checks = _CHECKS if strict else _LOOSE_CHECKS
    wrong: dict[str, str] = {}
    for field, value in fields.items():
        if value is None:
            if field in REQUIRED:
                wrong[field] = "must not be null"
        elif (reason := checks[field](value)) is not None:
            wrong[field] = reason
    if (kind := fields.get("type")) == "text" and isinstance(kind, str):
        for field in STT_FIELDS:
            if fields.get(field) is not None:
                wrong[field] = "is for voice assistants only"
    if extra is not None and (reason := _not_fields(extra)) is not None:
        wrong["extra_body"] = reason
    return wrong


def _not_fields(value: object) -> str | None:
    if not isinstance(value, Mapping):
        return "must be a mapping of JSON fields"
    return _not_json(value)


def _not_json(value: object, where: str = "", depth: int = 0) -> str | None:
    """The reason why a value cannot be sent as JSON. orjson would turn NaN into null without a word."""
    if value is None or isinstance(value, bool):
        return None
    if depth > 100:
        return "is nested more than 100 deep"
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**64 else f"{where} is an integer of more than 64 bits".strip()
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{where} must be a finite number".strip()
    if isinstance(value, str):
        return None if (reason := _text(value)) is None else f"{where} {reason}".strip()
    if isinstance(value, list | tuple):
        inner = (_not_json(item, f"{where}[{n}]", depth + 1) for n, item in enumerate(value))
        return next((reason for reason in inner if reason), None)
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                return f"{where} has a key that is no string: {_shown(key)}".strip()
            inside = f"{where}.{key}" if where else key
            if reason := _text(key) or _not_json(item, inside, depth + 1):
                return reason
        return None
    return f"{where} cannot be sent as JSON: {type(value).__name__}".strip()


def _raise_for(wrong: Mapping[str, str], what: str) -> None:
    if wrong:
        reasons = "; ".join(f"{field}: {reason}" for field, reason in wrong.items())
        raise ValidationError(f"{what} not sent: {reasons}", dict(wrong))


def check_create(fields: Mapping[str, object], extra: object, *, strict: bool) -> None:
    """Raise for an assistant to be made that sets these fields, `extra` besides."""
    wrong = _wrong_values(fields, extra, strict=strict)
    if not fields.keys() >= _REQUIRED:
        wrong |= {field: "is required" for field in REQUIRED if field not in fields}
    _raise_for(wrong, "assistant")


def check_update(fields: Mapping[str, object], extra: object, *, strict: bool) -> None:
    """Raise for a change that sets these fields, `extra` besides."""
    _raise_for(_wrong_values(fields, extra, strict=strict), "update")


def check_id(assistant_id: object) -> None:
    """Ids become part of a path: `""` or `"."` would turn a DELETE into a call on the collection."""
    if not isinstance(assistant_id, str):
        reason = f"must be a string, not {type(assistant_id).__name__}"
    elif not _ID.fullmatch(assistant_id):
        reason = f"must be 1 to 128 of the characters A-Z a-z 0-9 _ -, not {_shown(assistant_id)}"
    else:
        return
    _raise_for({"assistant_id": reason}, "request")
