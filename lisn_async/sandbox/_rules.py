"""What the specification says about the twelve fields of an assistant, and nothing about HTTP.

The one source is the parameter table of the Assistants API page. Written again here, apart from the SDK's own
checks and from `openapi.json`: three witnesses who never met. Where the page is silent the choice made here
has a row in `_guesses.py`.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

REQUIRED = ("name", "type", "llm_provider", "system_prompt")
VOICE_ONLY = ("stt_provider", "stt_model", "stt_language")
SERVER_OWNED = frozenset({"id", "created_at", "updated_at"})

TYPES = ("voice", "text")
STT_PROVIDERS = ("elevenlabs", "whisper", "aisha")
LLM_PROVIDERS = ("openai", "anthropic", "gemini", "grok")

Document = dict[str, Any]

# In the order of the specification's table; the values stand where a create leaves the field out.
_BLANK: Document = {
    "name": None,
    "type": None,
    "description": None,
    "stt_provider": None,
    "stt_model": None,
    "stt_language": None,
    "llm_provider": None,
    "llm_model": None,
    "system_prompt": None,
    "temperature": 0.7,
    "webhook_url": None,
    "webhook_secret": None,
}


class Refused(Exception):
    """The assistant would break the rules; `fields` says which field and why, all of them at once."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields)
        self.fields = fields


def created(body: Mapping[str, Any]) -> Document:
    """The assistant a create asks for, with defaults filled in, or `Refused`."""
    return _checked({**_BLANK, **_own(body)})


def changed(document: Mapping[str, Any], body: Mapping[str, Any]) -> Document:
    """The assistant after a partial update, or `Refused`.

    The rules are put to the result, not to the change: `{"type": "text"}` is fine by itself and wrong for an
    assistant that has an STT provider.
    """
    return _checked({**_own(document), **_own(body)})


def copied(document: Mapping[str, Any]) -> Document:
    """The fields of a duplicate: all of them, the name unchanged."""
    return _own(document)


def _own(body: Mapping[str, Any]) -> Document:
    return {name: value for name, value in body.items() if name not in SERVER_OWNED}


def _checked(document: Document) -> Document:
    if problems := violations(document):
        raise Refused(problems)
    return document


def violations(document: Mapping[str, Any]) -> dict[str, str]:
    """Every wrong field of `document` with the reason; empty when all is well."""
    problems = {}
    for name, check in _CHECKS.items():
        value = document[name]
        if value is None:
            if name in REQUIRED:
                problems[name] = "is required"
        elif reason := check(value):
            problems[name] = reason
    if document["type"] == "text":
        for name in VOICE_ONLY:
            if document[name] is not None:
                problems[name] = "is for voice assistants only"
    return problems


def _string(value: object) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _text(value: object) -> str | None:
    if not isinstance(value, str):
        return "must be a string"
    return None if value else "must not be empty"


def _one_of(*choices: str) -> Callable[[object], str | None]:
    reason = "must be one of: " + ", ".join(choices)

    def check(value: object) -> str | None:
        return None if isinstance(value, str) and value in choices else reason

    return check


def _temperature(value: object) -> str | None:
    # bool is an int to Python and no number to JSON; NaN and Infinity never get past the parser.
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number from 0.0 to 1.0"
    return None if 0 <= value <= 1 else "must be from 0.0 to 1.0"


# Lenient on purpose: what the real service takes as a URL is not written anywhere.
_HTTP_URL = re.compile(
    r"https?://[^\s\x00-\x1f\x7f/?#:@][^\s\x00-\x1f\x7f/?#]*([/?#][^\s\x00-\x1f\x7f]*)?", re.IGNORECASE
)


def _http_url(value: object) -> str | None:
    if isinstance(value, str) and _HTTP_URL.fullmatch(value):
        return None
    return "must be an http:// or https:// URL"


_CHECKS: dict[str, Callable[[object], str | None]] = {
    "name": _text,
    "type": _one_of(*TYPES),
    "description": _string,
    "stt_provider": _one_of(*STT_PROVIDERS),
    "stt_model": _string,
    "stt_language": _string,
    "llm_provider": _one_of(*LLM_PROVIDERS),
    "llm_model": _string,
    "system_prompt": _text,
    "temperature": _temperature,
    "webhook_url": _http_url,
    "webhook_secret": _string,
}
