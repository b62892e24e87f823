"""Files of assistants: what was written is read back, byte for byte, in every format."""

import io
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lisn_async.cli.files import (
    FORMATS,
    FileError,
    format_of,
    read_rows,
    save_records,
    write_records,
    yaml_file,
)

FIELDS = ("name", "type", "description", "llm_provider", "system_prompt", "temperature")

# What makes readers stumble: every line break some library knows, white space, syntax of each format.
TROUBLE = [
    "\n", "\r", "\r\n", "\x00", "\t", "\x0b", "\x0c", "\x1c", "\x1e", "\x1f", "\x7f", "\x85", "\xa0", "\u2028", "\u2029",
    "\ufeff", "\ufffe", "\uffff", "\U0010ffff", "\ue000", " ", "  ", "---", "---\n", "\n---\n", "...", "- ", "# ", ": ", "'", '"', '""',
    "\\", "\\n", ",", ";", "=1+1", "@x", "{", "}", "{{x}}", "${name}", "%s", "[", "]", "|", ">", "&a", "*a", "!!int", "yes",
    "null", "~", "1.10", "2024-01-01", "é", "e\u0301", "😀", "日本", "\u200b", "x" * 3000,
]  # fmt: skip
text = st.lists(st.one_of(st.sampled_from(TROUBLE), st.text(max_size=8)), min_size=1, max_size=8).map("".join)
filled = text.filter(bool)
record = st.fixed_dictionaries(
    {"name": filled, "system_prompt": filled},
    optional={
        "type": st.sampled_from(["voice", "text"]),
        "description": filled,
        "llm_provider": filled,
        "temperature": st.floats(0, 1).map(str) | st.just("0.1"),
    },
)
records = st.lists(record, max_size=5)
SLOW = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))

AWKWARD = [{"name": item, "system_prompt": item + "\n" + item} for item in TROUBLE] + [
    {"name": " outer ", "system_prompt": f"{item}first\n second{item}"} for item in TROUBLE
]


def read(path: str | Path, format: str | None = None) -> list[dict[str, object]]:
    """The values of all rows, which must have no problems."""
    rows = list(read_rows(str(path), format_of(str(path), format)))
    assert [row.problems for row in rows if row.problems] == []
    return [{k: v for k, v in row.values.items() if v is not None} for row in rows]


def written(found: list[dict[str, str]], format: str) -> bytes:
    stream = io.BytesIO()
    write_records(found, stream, format, FIELDS)
    return stream.getvalue()


def in_order(found: list[dict[str, str]]) -> list[dict[str, str]]:
    return sorted(found, key=lambda r: sorted((k, str(v)) for k, v in r.items()))


@pytest.mark.parametrize("format", FORMATS)
@SLOW
@example(found=AWKWARD)
@example(found=[])
@given(found=records)
def test_every_text_survives_a_round_trip(format: str, found: list[dict[str, str]]):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "out"
        save_records(found, str(path), format, FIELDS, force=False, private=False)
        if format == "markdown" and not found:
            with pytest.raises(FileError, match=r"no \.md file"):
                read(path, format)
        elif format == "jsonl" and not found:
            assert path.read_bytes() == b""
        elif format == "markdown":  # the order is that of the file names
            assert in_order(read(path, format)) == in_order(found)
        else:
            assert read(path, format) == found


@SLOW
@example(found=AWKWARD)
@given(found=records)
def test_yaml_reads_the_same_without_libyaml(found: list[dict[str, str]]):
    source = written(found, "yaml").decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml_file, "Loader", yaml.BaseLoader)
        rows = list(yaml_file.read_yaml(io.BytesIO(source.encode()), "x.yaml"))
    assert [row.values for row in rows] == found


@SLOW
@example(found=AWKWARD)
@given(found=records)
def test_any_yaml_reader_finds_the_same_texts(found: list[dict[str, str]]):
    """Words that YAML takes for something else are quoted, so the file means the same to other programs."""
    loaded = yaml.safe_load(written(found, "yaml"))
    assert [{k: str(v) for k, v in item.items()} for item in loaded] == found
    assert all(isinstance(item["name"], str) for item in loaded)
