"""An assistant: as one asks for it, as one changes it, as the service shows it.

Source of names, types and literals: `assistants-api`, table *Create Assistant*.

The classes have no slots: attrs makes a frozen object with slots field by field through `object.__setattr__`, which
takes twice as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from .._secrets import hide
from . import _rules
from ._unset import UNSET, Unset

AssistantType: TypeAlias = Literal["voice", "text"]
STTProvider: TypeAlias = Literal["elevenlabs", "whisper", "aisha"]
LLMProvider: TypeAlias = Literal["openai", "anthropic", "gemini", "grok"]


# Asked first whether there is anything to hide: mostly there is not, and these run for each assistant.


def _hidden(secret: str | Unset | None) -> str | Unset | None:
    return hide(secret) if secret else secret


def _hidden_fields(fields: Mapping[str, object] | None) -> Mapping[str, object] | None:
    return hide(fields) if fields else fields


def _hidden_or_none(secret: str | None) -> str | None:
    return hide(secret) if secret else secret


@attrs.frozen(kw_only=True, slots=False)
class _Fields:
    """The twelve documented fields as one sends them, each of them optional here: `validate` knows better."""

    name: str | Unset = UNSET
    type: AssistantType | Unset = UNSET
    llm_provider: LLMProvider | Unset = UNSET
    system_prompt: str | Unset = UNSET
    description: str | Unset | None = UNSET
    stt_provider: STTProvider | Unset | None = UNSET
    stt_model: str | Unset | None = UNSET
    stt_language: str | Unset | None = UNSET
    llm_model: str | Unset | None = UNSET
    temperature: float | Unset | None = UNSET
    webhook_url: str | Unset | None = UNSET
    webhook_secret: str | Unset | None = attrs.field(default=UNSET, converter=_hidden)
    extra_body: Mapping[str, object] | None = attrs.field(default=None, hash=False, converter=_hidden_fields)

    def _set_fields(self) -> Mapping[str, object]:
        values = ((name, getattr(self, name)) for name in _rules.FIELDS)
        return {name: value for name, value in values if value is not UNSET}


@attrs.frozen(kw_only=True, slots=False)
class AssistantCreate(_Fields):
    """The assistant you want made; a field left out (`UNSET`) is not sent, `None` is sent as `null`.

    Making one never fails on a bad value, so that a lazy stream of them does not die of one bad
    row: `validate()` says what is wrong, and every call that sends it does so first.

    `temperature` is 0.0 to 1.0; the `stt_*` fields are for voice assistants only. `extra_body`
    holds further top-level JSON fields that the documentation does not (yet) name.
    """

    def validate(self, *, strict: bool = True) -> None:
        """Nothing if the service's documentation allows this assistant.

        Raises `ValidationError`, naming every wrong field at once. `strict=False` lets types and
        providers through that the documentation does not list.
        """
        _rules.check_create(self._set_fields(), self.extra_body, strict=strict)


@attrs.frozen(kw_only=True, slots=False)
class AssistantUpdate(_Fields):
    """The fields of an assistant to change; a field left out (`UNSET`) stays as it is."""

    def validate(self, *, strict: bool = True) -> None:
        """Nothing if the service's documentation allows this change.

        Raises `ValidationError`, naming every wrong field at once. `strict=False` lets types and
        providers through that the documentation does not list.
        """
        _rules.check_update(self._set_fields(), self.extra_body, strict=strict)


@attrs.frozen(kw_only=True, slots=False)
class Assistant:
    """An assistant as the service shows it; a documented field that the reply did not hold is None.

    `type` and the providers are plain strings: a new provider must not break reading the old
    ones. `extra` is everything else the reply held (`created_at`, say).
    """

    id: str
    name: str | None = None
    type: str | None = None
    description: str | None = None
    stt_provider: str | None = None
    stt_model: str | None = None
    stt_language: str | None = None
    llm_provider: str | None = None
    llm_model: str | None = None
    system_prompt: str | None = None
    temperature: float | None = None
    webhook_url: str | None = None
    webhook_secret: str | None = attrs.field(default=None, converter=_hidden_or_none)
    extra: Mapping[str, Any] = attrs.field(factory=dict, hash=False, repr=_rules.names_only)

    def to_create(self) -> AssistantCreate:
        """The `AssistantCreate` that would make this assistant again; fields that are None are left out."""
        known = {name: getattr(self, name) for name in _rules.FIELDS}
        return AssistantCreate(**{name: value for name, value in known.items() if value is not None})
