"""Files that cannot be read or written: each says where and what, and nothing is left half done."""

import codecs
import re
import stat
from pathlib import Path

import pytest
import yaml

from lisn_async.cli.files import FileError, format_of, read_rows, save_records, yaml_file
from lisn_async.cli.files.row import Row

FIELDS = ("name", "system_prompt")
ONE = [{"name": "a", "system_prompt": "b"}]


@pytest.fixture(params=["libyaml", "python"])
def yaml_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parsers of PyYAML: which one there is depends on the machine."""
    if request.param == "python":
        monkeypatch.setattr(yaml_file, "Loader", yaml.BaseLoader)
    elif yaml_file.Loader is yaml.BaseLoader:
        pytest.skip("PyYAML was built without libyaml")


def rows(path: Path, data: bytes | str) -> list[Row]:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_rows(str(path), format_of(str(path), None)))


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.csv", "", "a.csv: the file is empty"),
        ("a.csv", b"name,x\r\nM\xfcller,b\r\n", r"a.csv:2: byte 9 \(0xfc\) is not UTF-8 .* Windows-1252"),
        ("a.csv", codecs.BOM_UTF16_LE + "name".encode("utf-16-le"), r"a.csv:1: byte 0 \(0xff\) .* UTF-16"),
        ("a.csv", b"name,x\n" + b"a" * 9 + b'"\xe9"\n', "a.csv:2: byte 17 "),
        ("a.csv", "name,name\r\n", "a.csv:1: the header names a column twice: 'name'"),
        ("a.csv", "name;x\r\na;b\r\n", "a.csv:1: the columns seem to be separated by ';'"),
        ("a.csv", "name\tx\r\n", "a.csv:1: the columns seem to be separated by"),
        ("a.csv", ",,\r\n", "a.csv:1: the header names no column"),
        ("a.csv", 'name,x\r\n"a\nb"c,d\r\n', "a.csv:3: not CSV: .* begins on line 2"),
        ("a.csv", 'name,x\r\na,b\r\n"c,d\r\ne,f\r\n', "a.csv:3: the record that begins here .* closing"),
        ("a.json", " \n", "a.json: the file is empty"),
        ("a.json", '[{"a": 1},\n {"b" 2}]', "a.json:2: not JSON: Expecting ':' delimiter, column 7"),
        ("a.json", '{"a": 1}', r"a.json:1: not JSON: expected an array of objects"),
        ("a.json", '[\n{"a": 1}\n', "a.json:3: not JSON: expected , or ]"),
        ("a.json", "[]\n[]", "a.json:2: not JSON: text after the end"),
        ("a.json", '[\n{"a": NaN}]', "a.json:2: not JSON we read: NaN"),
        ("a.json", '[{"a": 1},\n{"a": 1, "a": 2}]', "a.json:2: not JSON we read: the key 'a' stands twice"),
        ("a.json", "[" * 100_000, "a.json:1: not JSON"),
        ("a.json", b'[{"a": "\xe9"}]', "a.json:1: byte 8 "),
        ("a.jsonl", "", "a.jsonl: the file is empty"),
        ("a.jsonl", b'{}\n{"a": "\xe9"}\n', "a.jsonl:2: byte 10 "),
        ("a.yaml", "# nothing\n", "a.yaml: the file is empty"),
        ("a.yaml", "name: a\n", "a.yaml:1: expected a list"),
        ("a.yaml", '- name: a\n  x: "y\n- name: b\n', "a.yaml:.: not YAML: .*, column"),
        ("a.yaml", "- name: a\n x: y\n", "a.yaml:2: not YAML: .*, column 2"),
        ("a.yaml", "- name: a\n- name: b\n  name: c\n", "a.yaml:3: the key 'name' stands twice"),
        ("a.yaml", "- name: a\n  x: 'bell \x07'\n", r"a.yaml:2: YAML does not allow the character U\+0007"),
        ("a.yaml", "- name: !!binary aGk=\n", "a.yaml:1: the tag .* is not read"),
        ("a.yaml", "- &x {name: a}\n- <<: *x\n", "a.yaml:2: merge keys"),
        ("a.yaml", "- ? [a]\n  : b\n", "a.yaml:1: a key must be text"),
        ("a.yaml", "--- [{name: a}]\n--- [{name: b}]\n", "a.yaml:2: not YAML: expected a single document"),
        ("a.yaml", "- " * 3000, "a.yaml.*: not YAML|expected a mapping"),
        ("a.txt", "x", "a.txt: the suffix says nothing .* --format"),
    ],
)
@pytest.mark.usefixtures("yaml_parser")
def test_a_file_that_cannot_be_read_says_where_and_why(
    tmp_path: Path, name: str, data: bytes | str, message: str
):
    with pytest.raises(FileError, match=message) as caught:
        found = rows(tmp_path / name, data)
        assert found[0].problems, found
        raise FileError(f"{found[0].where}: {found[0].problems[0]}")
    assert str(tmp_path) in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("name", "data", "problems"),
    [
        (
            "a.csv",
            "name,x\r\na\r\nb,c\r\nd,e,f\r\n",
            {2: "1 cell, but .* 2 columns: no cell for 'x'", 4: "3 cells"},
        ),
        (
            "a.jsonl",
            '{}\nno\n[1]\nnull\n{"a":1,"a":2}\n',
            {2: "not JSON", 3: "a list", 4: "null", 5: "'a' stands"},
        ),
        ("a.jsonl", '{"a": Infinity}\n' + "[" * 100_000, {1: "Infinity is no JSON number", 2: "not JSON"}),
        (
            "a.jsonl",
            "".join(f'{{"a": {"[" * deep}{"]" * deep}}}\n' for deep in (64, 65)),
            {2: "nested deeper than 64 levels"},
        ),
        ("a.json", '[{},\n"x",\n\n4]', {2: "found text", 4: "found a number"}),
        ("a.yaml", "- name: a\n- b\n", {2: "expected a mapping"}),
    ],
)
def test_one_bad_record_does_not_hide_the_others(
    tmp_path: Path, name: str, data: str, problems: dict[int, str]
):
    found = rows(tmp_path / name, data)
    bad = {row.line: row.problems[0] for row in found if row.problems}
    assert bad.keys() == problems.keys()
    for line, message in problems.items():
        assert re.search(message, bad[line])
    assert all(row.where == f"{tmp_path / name}:{row.line}" for row in found)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ("no front matter", "does not begin with front matter"),
        ("---\nname: a\n", "not closed"),
        ("---\n- a\n---\nbody", "no mapping"),
        ("---\nname: a\nsystem_prompt: b\n---\nbody", "in the front matter and as the body"),
    ],
)
def test_a_markdown_file_that_is_no_assistant_says_why(tmp_path: Path, data: str, problem: str):
    (tmp_path / "a.md").write_text(data)
    (row,) = read_rows(str(tmp_path), "markdown")
    assert row.where == f"{tmp_path / 'a.md'}:1"
    assert problem in row.problems[0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("---\nname: a\nname: b\n---\n", r"a\.md:3: the key 'name' stands twice"),
        ("---\nname: a\n x: [\n---\n", r"a\.md:3: not YAML"),
        (b"---\nname: a\n---\n\xff", r"a\.md:4: byte 16 \(0xff\) is not UTF-8"),
    ],
)
def test_broken_front_matter_is_placed_in_its_file(tmp_path: Path, data: str | bytes, message: str):
    (tmp_path / "a.md").write_bytes(data if isinstance(data, bytes) else data.encode())
    with pytest.raises(FileError, match=message):
        list(read_rows(str(tmp_path), "markdown"))


def test_a_folder_without_markdown_a_missing_file_and_a_missing_folder_are_errors(tmp_path: Path):
    for path, message in [
        (tmp_path, r"no \.md file"),
        (tmp_path / "x.csv", "No such file"),
        (tmp_path / "y/", "No"),
    ]:
        with pytest.raises(FileError, match=message):
            list(read_rows(str(path), "markdown" if path.suffix == "" else "csv"))


@pytest.mark.parametrize(
    ("name", "data", "values"),
    [
        ("a.csv", "\ufeffname,x\r\na,\r\n", {"name": "a", "x": None}),
        ("a.csv", 'name,x\n" a ","b\rc\r\nd"\n', {"name": " a ", "x": "b\rc\r\nd"}),
        ("a.csv", "name,x\n\n\na\x00,b\x0b\x1c\x85\u2028\n", {"name": "a\x00", "x": "b\x0b\x1c\x85\u2028"}),
        ("a.csv", "name,x,\na,b,\n", {"name": "a", "x": "b"}),
        ("a.csv", "name,x\ra,b\r", {"name": "a", "x": "b"}),
        ("a.jsonl", '\ufeff{"name": "a\u2028\x85\x0b\x1c"}\r\n', {"name": "a\u2028\x85\x0b\x1c"}),
        ("a.jsonl", '\n {"name": "a", "x": null, "t": 1, "u": [1]} \n', {"name": "a", "x": None, "t": 1, "u": [1]}),
        ("a.json", '\ufeff [ {"name": "\\ud800", "t": 0.5, "b": true} ] ', {"name": "\ud800", "t": 0.5, "b": True}),
        ("a.yaml", "\ufeff- {name: yes, x: 1.10, d: 2024-01-01}", {"name": "yes", "x": "1.10", "d": "2024-01-01"}),
        ("a.yaml", "- name: Null\n  x: null\n  y: ~\n  z:\n  q: ''\n  r: 'null'\n",
         {"name": "Null", "x": None, "y": None, "z": None, "q": "", "r": "null"}),
        ("a.yaml", "- name: |\n    a\n    {{x}} ${y}\n  x: [1]\n  y: {a: b}\n",
         {"name": "a\n{{x}} ${y}\n", "x": [], "y": {}}),
        # YAML 1.2 breaks lines at CR and LF only; PyYAML alone would end the plain text, and drop the blanks.
        ("a.yaml", "- name: a \u2028 b \x85 c\n  x: 'd \u2029 e'\n  y: |\n    f\u2028g\n",
         {"name": "a \u2028 b \x85 c", "x": "d \u2029 e", "y": "f\u2028g\n"}),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("yaml_parser")
def test_text_is_read_as_it_stands(tmp_path: Path, name: str, data: str, values: dict[str, object]):
    (row,) = rows(tmp_path / name, data)
    assert (row.problems, row.values) == ((), values)


def test_the_line_of_a_csv_record_is_where_it_begins(tmp_path: Path):
    found = rows(tmp_path / "a.csv", 'name,x\r\n"a\nb",c\r\n\r\nd,"e\rf"\r\ng,h\r\n')
    assert [row.line for row in found] == [2, 5, 6]


def test_a_markdown_body_is_every_byte_after_the_front_matter(tmp_path: Path):
    body = "\r\n---\nname: no\n---\n  text \r\n\n"
    (tmp_path / "a.md").write_bytes(b"---\r\nname: a\r\n--- \r\n" + body.encode())
    (row,) = read_rows(str(tmp_path), "markdown")
    assert row.values == {"name": "a", "system_prompt": body}


def test_csv_and_json_lines_are_read_one_record_at_a_time(tmp_path: Path):
    """The first record is there before the last bytes, which are no UTF-8, are looked at."""
    for name, head, record in [("a.csv", b"name,x\n", b"a,b\n"), ("a.jsonl", b"", b'{"name": "a"}\n')]:
        (tmp_path / name).write_bytes(head + record * 50_000 + b"\xff\n")
        found = read_rows(str(tmp_path / name), format_of(str(tmp_path / name), None))
        assert next(found).values["name"] == "a"
        with pytest.raises(FileError, match="is not UTF-8"):
            list(found)


@pytest.mark.parametrize("format", ["csv", "yaml", "markdown"])
def test_half_a_surrogate_pair_is_refused_where_utf8_cannot_hold_it(tmp_path: Path, format: str):
    bad = [*ONE, {"name": "bad", "system_prompt": "x\ud800"}]
    with pytest.raises(FileError, match="system_prompt of 'bad' holds half a surrogate pair"):
        save_records(bad, str(tmp_path / "out"), format, FIELDS, force=False, private=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["json", "jsonl"])
def test_half_a_surrogate_pair_survives_in_json(tmp_path: Path, format: str):
    bad = [*ONE, {"name": "bad", "system_prompt": "é x\ud800"}]
    save_records(bad, str(tmp_path / "out"), format, FIELDS, force=False, private=False)
    assert [row.values for row in read_rows(str(tmp_path / "out"), format)] == bad


def test_a_file_that_is_there_is_only_overwritten_on_demand(tmp_path: Path):
    path = tmp_path / "a.csv"
    path.write_text("precious")
    path.chmod(0o640)
    with pytest.raises(FileError, match="is there already"):
        save_records(ONE, str(path), "csv", FIELDS, force=False, private=False)
    assert path.read_text() == "precious"
    save_records(ONE, str(path), "csv", FIELDS, force=True, private=False)
    assert path.read_bytes() == b"name,system_prompt\r\na,b\r\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_folder_with_something_in_it_is_only_written_to_on_demand(tmp_path: Path):
    folder = tmp_path / "out"
    save_records(ONE, str(folder), "markdown", FIELDS, force=False, private=False)
    with pytest.raises(FileError, match="not empty"):
        save_records(ONE, str(folder), "markdown", FIELDS, force=False, private=False)
    (folder / "other.md").write_text("---\n---\n")
    assert save_records(ONE, str(folder), "markdown", FIELDS, force=True, private=False) == 1
    assert (folder / "a.md").read_bytes() == b"---\nname: a\n---\nb"


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path):
    save_records(ONE, str(tmp_path / "a.json"), "json", FIELDS, force=False, private=True)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("old")
    with pytest.raises(FileError):
        save_records([{"name": "\udfff"}], str(path), "yaml", FIELDS, force=True, private=False)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("a.yaml", "old")]
    with pytest.raises(FileError, match="does not exist: make it first"):
        save_records(ONE, str(tmp_path / "no" / "a.yaml"), "yaml", FIELDS, force=False, private=False)


def test_markdown_file_names_are_safe_and_unique(tmp_path: Path):
    names = [
        "Sales",
        "sales",
        "SALES!",
        "../../etc/passwd",
        "",
        "CON",
        "😀",
        "日本 語",
        "x" * 999,
        "ß",
        "ss",
        ".",
        "a/b",
    ]
    records = [{"name": name, "system_prompt": str(number)} for number, name in enumerate(names)]
    save_records(records, str(tmp_path / "out"), "markdown", FIELDS, force=False, private=False)
    files = [path.name for path in (tmp_path / "out").iterdir()]
    assert len({name.casefold() for name in files}) == len(names)
    assert {"sales.md", "sales-2.md", "sales-3.md", "etc-passwd.md", "con-assistant.md", "日本-語.md"} <= set(
        files
    )
    assert all(len(name.encode()) < 160 for name in files)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out"]


def test_no_numbers_in_csv_are_rounded(tmp_path: Path):
    save_records([{"name": 0.1 + 0.2}], str(tmp_path / "a.csv"), "csv", ("name",), force=False, private=False)
    assert (tmp_path / "a.csv").read_text() == "name\n0.30000000000000004\n"
