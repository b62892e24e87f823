"""From columns to fields: which source wins, and what a value must look like."""

import attrs
import pytest

from lisn_async.cli._check import check_rows
from lisn_async.cli._columns import Item, item_of, parse_columns
from lisn_async.cli._fields import FIELDS
from lisn_async.cli._spool import Kept, Spool
from lisn_async.cli._stop import UsageError
from lisn_async.cli.files import FileError, Row
from lisn_async.models import Assistant, AssistantCreate


def item(values: dict[str, object], maps: list[str] | None = None, sets: list[str] | None = None) -> Item:
    return item_of(values, parse_columns(maps or [], sets or []))


def test_the_fields_are_those_of_the_models():
    for model in (AssistantCreate, Assistant):
        assert set(FIELDS) == {field.name for field in attrs.fields(model)} - {"id", "extra", "extra_body"}


@pytest.mark.parametrize(
    ("values", "maps", "sets", "expected"),
    [
        ({"name": "a"}, [], [], {"name": "a"}),
        ({"act": "a"}, ["act=name"], [], {"name": "a"}),
        ({"act": "a", "name": "b"}, ["act=name"], [], {"name": "a"}),
        ({"name": "b", "act": "a"}, ["act=name"], [], {"name": "a"}),
        ({"name": "b", "act": "a"}, ["act=name", "name=description"], [], {"name": "a", "description": "b"}),
        ({"type": "TEXT"}, [], ["type=text"], {"type": "text"}),
        ({"act": "a"}, ["act=name"], ["name=b"], {"name": "b"}),
        ({"a=b": "x"}, ["a=b=name"], ["description=c=d"], {"name": "x", "description": "c=d"}),
        ({"name": None, "other": 1}, [], [], {}),
        ({"name": " a\n"}, [], ["description="], {"name": " a\n", "description": ""}),
        ({"temperature": "0.70"}, [], [], {"temperature": 0.7}),
        ({"temperature": 1}, [], [], {"temperature": 1}),
        ({"name": "${x} {{y}} \\n"}, [], [], {"name": "${x} {{y}} \\n"}),
    ],
)
def test_set_wins_over_map_and_map_over_the_column_of_that_name(
    values: dict[str, object], maps: list[str], sets: list[str], expected: dict[str, object]
):
    assert item(values, maps, sets) == Item(values=expected, problems={})


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("temperature", "0,7", "the decimal sign is a point"),
        ("temperature", "nan", "must be a number such as 0.7, not 'nan'"),
        ("temperature", "1_0", "must be a number"),
        ("temperature", " 0.5", "must be a number"),
        ("temperature", True, "not true or false"),
        ("temperature", [], "not a list"),
        ("name", 5, "must be text, not a number"),
        ("name", {}, "must be text, not a mapping"),
        ("name", False, "must be text, not true or false"),
    ],
)
def test_a_value_of_the_wrong_kind_is_a_problem_of_its_row(field: str, value: object, problem: str):
    found = item({field: value})
    assert found.values == {}
    assert problem in found.problems[field]


@pytest.mark.parametrize(
    ("maps", "sets", "message"),
    [
        (["a"], [], "COLUMN=FIELD"),
        (["=name"], [], "COLUMN=FIELD"),
        (["a=nome"], [], "no field 'nome'; there are name, type"),
        (["a=name", "b=name"], [], "another column is mapped to name"),
        (["a=name", "a=type"], [], "'a' is mapped already"),
        ([], ["name"], "FIELD=VALUE"),
        ([], ["id=1"], "no field 'id'"),
        ([], ["name=a", "name=b"], "set already"),
        ([], ["temperature=warm"], "must be a number"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(maps: list[str], sets: list[str], message: str):
    with pytest.raises(UsageError, match=message):
        parse_columns(maps, sets)


def test_every_problem_of_every_row_is_found_in_one_go():
    rows = [
        Row(where="f:2", line=2, values={"name": "a", "system_prompt": "b"}),
        Row(where="f:3", line=3, values={"name": "", "temperature": "x", "extra": 1}),
        Row(where="f:4", line=4, problems=("ragged",)),
    ]
    with Spool() as spool:
        checked = check_rows(rows, parse_columns([], ["type=text", "llm_provider=openai"]), spool, "f")
        kept = [(row.where, row.values, row.is_good) for row in spool]
    assert kept == [
        ("f:2", {"name": "a", "system_prompt": "b"}, True),
        ("f:3", {"name": "", "temperature": "x", "extra": 1}, False),
        ("f:4", None, False),
    ]
    assert (checked.rows, checked.bad, list(checked.columns)) == (
        3,
        2,
        ["name", "system_prompt", "temperature", "extra"],
    )
    text = "\n".join(checked.problems)
    for problem in (
        "f:3: name: must not be empty",
        "f:3: system_prompt: is required",
        "f:3: temperature: ",
        "f:4: ragged",
    ):
        assert problem in text


def test_a_mapped_column_that_no_row_has_is_an_error():
    rows = [Row(where="f:2", line=2, values={"title": "a"})]
    with (
        Spool() as spool,
        pytest.raises(FileError, match=r"f: there is no column 'act' to --map; .* 'title'"),
    ):
        check_rows(rows, parse_columns(["act=name"], []), spool, "f")


def test_what_is_spooled_comes_back_exactly():
    values = {"name": "\x00\r\n\u2028é😀", "temperature": 0.1}
    with Spool() as spool:
        for number in range(50_000):
            spool.add(f"f:{number}", values, is_good=True)
        assert len(spool) == 50_000
        for _ in range(2):
            assert all(
                found == Kept(where=f"f:{number}", values=values, is_good=True)
                for number, found in enumerate(spool)
            )
