"""Readers of files meet anything: a row, a row with a problem, or a FileError, and nothing else."""

import io
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lisn_async.cli._spool import Spool
from lisn_async.cli.files import (
    FileError,
    Row,
    read_rows,
    save_folder,
    save_records,
    write_records,
    yaml_file,
)
from lisn_async.cli.files.csv_file import read_csv
from lisn_async.cli.files.json_file import read_json
from lisn_async.cli.files.jsonl_file import read_jsonl
from lisn_async.cli.files.yaml_file import read_yaml
from tests.test_files import TROUBLE, text

READERS = {"csv": read_csv, "json": read_json, "jsonl": read_jsonl, "yaml": read_yaml}
MANY = settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))

# Pieces of the formats' own syntax, put together at random, get further than random bytes do.
PIECES = [
    b"name", b"a,b", b",", b'"', b'""', b"\r\n", b"\n", b"\r", b"\x00", b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\xed\xa0\x80",
    b"[", b"]", b"{", b"}", b":", b": ", b"- ", b"? ", b"? x\n", b"---\n", b"...\n", b"%YAML 1.1\n", b"%TAG ! x\n", b"&a ", b"*a", b"<<",
    b"!!binary ", b"!x ", b"|\n", b">+2\n", b"'", b"#", b"\t", b"  ", b"null", b"NaN", b"1e999", b"-0", b"1" * 5000, b"\\u", b"\\ud800",
    b'"\\ud800"', b'"\\UFFFFFFFF"', b'"\\U00110000"', b"\xe2\x80\xa8", b"\xc2\x85", b"\xee\x80\x80", b"[" * 70, b'{"a":' * 70,
]  # fmt: skip
anything = st.one_of(
    st.binary(max_size=60),
    st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=3)), max_size=12).map(b"".join),
)
DEEP = b"[" * 900 + b"]" * 900
EXAMPLES = [
    b"[" * 5000,
    b'{"a":' * 5000,
    b"- " * 5000,
    b'- a: "\\UFFFFFFFF"',
    b'- a: "\\ud800"',
    b"- &a [*a]",
    b'[{"a": 1e999}]',
    b'{"a":%b}' % DEEP,
    b'[{"a":%b}]' % DEEP,
]


def check(row: Row) -> None:
    """A row that nothing behind the reader can stumble over: it can be kept, and written again."""
    assert row.where
    with Spool() as spool:
        spool.add(row.where, row.values, is_good=True)
        assert [kept.values for kept in spool] == [row.values]
    write_records([row.values], io.BytesIO(), "json", ())
    assert row.values == {} or not row.problems
    assert all(isinstance(name, str) for name in row.values)


@pytest.mark.parametrize("loader", ["libyaml", "python"])
@pytest.mark.parametrize("format", READERS)
@MANY
@given(data=anything)
@example(data=EXAMPLES[0])
@example(data=EXAMPLES[1])
@example(data=EXAMPLES[2])
@example(data=EXAMPLES[3])
@example(data=EXAMPLES[4])
@example(data=EXAMPLES[5])
@example(data=EXAMPLES[6])
@example(data=EXAMPLES[7])
@example(data=EXAMPLES[8])
def test_any_bytes_are_rows_or_a_file_error(format: str, loader: str, data: bytes):
    with pytest.MonkeyPatch.context() as patch:
        if loader == "python":
            patch.setattr(yaml_file, "Loader", yaml.BaseLoader)
        try:
            for row in READERS[format](io.BytesIO(data), "label"):
                check(row)
        except FileError as error:
            assert "label" in str(error)


@MANY
@given(data=anything)
def test_any_bytes_of_front_matter_are_a_row_or_a_file_error(data: bytes):
    with tempfile.TemporaryDirectory() as folder:
        for head in (b"", b"---\n"):
            (Path(folder) / "a.md").write_bytes(head + data + (b"\n---\nbody" if head else b""))
            try:
                for row in read_rows(folder, "markdown"):
                    check(row)
            except FileError as error:
                assert "a.md" in str(error)


# Any names of columns, and no value as well: what the rows of somebody's own file may have.
column = st.one_of(st.sampled_from([*TROUBLE, "", "x" * 2000, "a: b", "<<"]), st.text(max_size=8), text)
flat = st.dictionaries(column, st.one_of(st.none(), text), min_size=1, max_size=5)
scalar = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), text
)
nested = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3)
)
TRICKY = {name: value for name in [*TROUBLE, "<<", "? a", "x" * 2000] for value in ("null",)}


@pytest.mark.parametrize("format", ["json", "jsonl"])
@MANY
@given(records=st.lists(st.dictionaries(column, nested, max_size=4), min_size=1, max_size=3))
def test_any_json_record_survives_a_round_trip(format: str, records: list[dict[str, object]]):
    stream = io.BytesIO()
    write_records(records, stream, format, ())
    assert [row.values for row in READERS[format](io.BytesIO(stream.getvalue()), "label")] == records


@pytest.mark.parametrize("loader", ["libyaml", "python"])
@MANY
@given(records=st.lists(flat, min_size=1, max_size=3))
@example(records=[TRICKY])
def test_any_yaml_record_survives_a_round_trip(loader: str, records: list[dict[str, object]]):
    stream = io.BytesIO()
    write_records(records, stream, "yaml", ())
    with pytest.MonkeyPatch.context() as patch:
        if loader == "python":
            patch.setattr(yaml_file, "Loader", yaml.BaseLoader)
        assert [row.values for row in read_yaml(io.BytesIO(stream.getvalue()), "label")] == records


@MANY
@given(names=st.lists(column.filter(bool), min_size=1, max_size=5, unique=True), data=st.data())
def test_any_csv_record_survives_a_round_trip(names: list[str], data: st.DataObject):
    if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
        return  # taken for a file with another separator, and refused
    cell = st.one_of(st.none(), text)
    records = data.draw(st.lists(st.fixed_dictionaries(dict.fromkeys(names, cell)), max_size=3))
    stream = io.BytesIO()
    write_records(records, stream, "csv", names)
    if names[0].startswith("\ufeff"):
        return  # the first three bytes of a file that begins so are a byte order mark
    found = [row.values for row in read_csv(io.BytesIO(stream.getvalue()), "label")]
    assert found == [{name: value or None for name, value in record.items()} for record in records]


@MANY
@given(record=flat)
@example(record={**TRICKY, "system_prompt": "\r\n---\n"})
def test_any_front_matter_survives_a_round_trip(record: dict[str, object]):
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "out"
        save_folder({"a.md": record}, str(folder))
        (row,) = read_rows(str(folder), "markdown")
        kept = dict(row.values)
        assert {k: v for k, v in kept.items() if v is not None} == {
            k: v for k, v in record.items() if v is not None and (k, v) != ("system_prompt", "")
        }


def test_a_folder_holds_exactly_the_records_it_was_given_and_nothing_else_is_touched(tmp_path: Path):
    folder = tmp_path / "out"
    save_folder({"a.md": {"name": "a"}, "b.md": {"name": "b"}}, str(folder))
    (folder / "notes.txt").write_text("mine")
    save_folder({"b.md": {"name": "B"}}, str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["b.md", "notes.txt"]
    save_folder({}, str(folder))
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    (folder / "notes.txt").unlink()
    save_folder({}, str(folder))
    assert list(tmp_path.iterdir()) == []


def test_records_are_read_again_only_to_name_the_one_that_cannot_be_written(tmp_path: Path):
    class Records:
        reads = 0

        def __iter__(self):  # type: ignore[no-untyped-def]
            self.reads += 1
            return iter([{"name": "a"}])

    records = Records()
    save_records(records, str(tmp_path / "a.csv"), "csv", ["name"], force=False, private=True)
    assert records.reads == 1
