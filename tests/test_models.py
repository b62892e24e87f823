"""Models: what is allowed in them, what they show, what survives a copy."""

from __future__ import annotations

import copy
import math
import pickle
from typing import Any

import pytest

from lisn_async import UNSET, Assistant, AssistantCreate, AssistantUpdate, ValidationError

GOOD: dict[str, Any] = {"name": "n", "type": "voice", "llm_provider": "openai", "system_prompt": "p"}


@pytest.mark.parametrize("field", ["name", "type", "llm_provider", "system_prompt"])
@pytest.mark.parametrize("value", [UNSET, None, "", 7, b"x", ["x"]])
def test_a_required_field_must_be_a_text_that_is_not_empty(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        AssistantCreate(**{**GOOD, field: value}).validate()
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "Voice"),
        ("llm_provider", "mistral"),
        ("stt_provider", "google"),
        ("temperature", 1.5),
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("temperature", True),
        ("temperature", "0.5"),
        ("description", 1),
        ("llm_model", ["gpt"]),
        ("name", "\ud800"),
        ("webhook_url", "ftp://x.example"),
        ("webhook_url", "https://"),
        ("webhook_url", "https://a b"),
        ("webhook_url", "https://x\n"),
        ("webhook_url", "https://[::1"),
        ("webhook_url", "https://x:99999"),
        ("extra_body", {"x": math.nan}),
        ("extra_body", {"x": object()}),
        ("extra_body", {"x": {"y": [1, "\udfff"]}}),
        ("extra_body", {1: 2}),
    ],
)
def test_what_the_documentation_rules_out_is_named(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        AssistantCreate(**{**GOOD, field: value}).validate()
    assert list(caught.value.fields) == [field]
    assert field in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0),
        ("temperature", 1),
        ("temperature", 0.0),
        ("temperature", 1.0),
        ("temperature", None),
        ("stt_provider", "aisha"),
        ("stt_provider", None),
        ("stt_language", "Auto-Detect"),
        ("description", ""),
        ("webhook_url", "http://localhost:8080/x?y=z"),
        ("name", " "),
        ("extra_body", {"x": [1, None, {"y": "z"}]}),
    ],
)
def test_what_the_documentation_allows_passes(field: str, value: Any) -> None:
    AssistantCreate(**{**GOOD, field: value}).validate()
    AssistantUpdate(**{field: value}).validate()


@pytest.mark.parametrize("field", ["stt_provider", "stt_model", "stt_language"])
def test_stt_is_for_voice_only(field: str) -> None:
    wrong = {**GOOD, "type": "text", field: "whisper"}
    with pytest.raises(ValidationError, match="voice"):
        AssistantCreate(**wrong).validate()
    with pytest.raises(ValidationError, match="voice"):
        AssistantUpdate(type="text", **{field: "whisper"}).validate()
    AssistantUpdate(**{field: "whisper"}).validate()  # of an assistant whose type is not known here
    AssistantCreate(**{**wrong, field: None}).validate()


def test_not_strict_lets_undocumented_names_through_but_not_empty_ones() -> None:
    AssistantCreate(**{**GOOD, "type": "video", "llm_provider": "mistral"}).validate(strict=False)
    with pytest.raises(ValidationError):
        AssistantCreate(**{**GOOD, "type": ""}).validate(strict=False)


def test_making_a_spec_never_fails_on_a_value() -> None:
    AssistantCreate(name=7, type=None, temperature="hot", webhook_secret=3)
    AssistantCreate()


def test_unset_is_falsy_single_and_survives_copies() -> None:
    assert not UNSET
    assert repr(UNSET) == "UNSET"
    assert copy.deepcopy(UNSET) is UNSET
    assert pickle.loads(pickle.dumps(UNSET)) is UNSET


def test_models_survive_pickle_with_their_secret() -> None:
    spec = AssistantCreate(**GOOD, webhook_secret="s3cret", extra_body={"x": 1})
    shown = Assistant(id="ast_1", name="n", webhook_secret="s3cret", extra={"x": 1})
    assert pickle.loads(pickle.dumps(spec)) == spec
    again = pickle.loads(pickle.dumps(shown))
    assert again == shown
    assert again.webhook_secret == "s3cret"
    assert "s3cret" not in repr(again)


def test_models_are_frozen_and_hashable() -> None:
    shown = Assistant(id="ast_1", extra={"x": []})
    assert hash(shown) == hash(Assistant(id="ast_1"))
    with pytest.raises(AttributeError):
        shown.name = "x"


@pytest.mark.parametrize("kind", [AssistantCreate, AssistantUpdate])
def test_the_repr_of_a_spec_hides_the_secret_and_undocumented_values(kind: Any) -> None:
    shown = repr(kind(webhook_secret="s3cret", extra_body={"api_key": "k3y"}))
    assert "s3cret" not in shown
    assert "k3y" not in shown
    assert "api_key" in shown


def test_to_create_leaves_out_what_is_none_and_what_is_not_ours() -> None:
    shown = Assistant(id="ast_1", name="n", temperature=0.5, extra={"created_at": "x"})
    assert shown.to_create() == AssistantCreate(name="n", temperature=0.5)
