"""The schema refuses what contradicts itself, and its fingerprint changes with the meaning of a row alone."""

from pathlib import Path
from typing import Any

import pytest

from contract.errors import SchemaError
from contract.schema import Schema, dense_columns, parse_schema, read_schema, widths

GOOD: dict[str, Any] = {
    "user_key": "uid",
    "fields": [
        {"name": "city", "side": "user", "lineage": "ab"},
        {"name": "tags", "side": "item", "kind": "multi", "max_length": 2, "encoding": "hash", "buckets": 10},
        {"name": "age", "side": "user", "kind": "numeric"},
    ],
    "tasks": [{"name": "ctr", "label": "click"}, {"name": "cvr", "label": "buy", "space": "ctr"}],
}


def changed(path: str, value: object) -> dict[str, Any]:
    copy: Any = Schema.model_validate(GOOD).model_dump(mode="json", exclude_unset=True)
    *places, last = (int(p) if p.isdigit() else p for p in path.split("."))
    inner = copy
    for place in places:
        inner = inner[place]
    inner[last] = value
    result: dict[str, Any] = copy
    return result


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("fields.0.sides", "user", r"fields\[0\]\.sides"),
        ("fields.0.side", "users", r"fields\[0\]\.side: Input should be 'user'"),
        ("fields.0.name", "a b", r"fields\[0\]\.name"),
        ("fields.0.name", "age", "field 'age' appears twice"),
        ("fields.0.max_length", 3, "max_length is for kind 'multi'"),
        ("fields.1.max_length", None, "max_length is for kind 'multi', and needed there"),
        ("fields.1.buckets", None, "buckets is for encoding 'hash'"),
        ("fields.2.default", "x", "a numeric default must be a number"),
        ("tasks.0.label", "city", "label 'city' is also an input field"),
        ("tasks.1.space", "clicks", "space 'clicks' is neither 'all' nor"),
        ("tasks", [], "tasks"),
        ("split", {"by": "time"}, "needs the top-level key 'time'"),
        ("split", {"train": 0.9, "validation": 0.1}, "leave a part for test"),
    ],
)
def test_a_contradiction_is_refused_in_one_line(path: str, value: object, message: str) -> None:
    with pytest.raises(SchemaError, match=message) as caught:
        parse_schema(changed(path, value), "my.yaml")
    assert str(caught.value).startswith("my.yaml: ")
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_a_known_value() -> None:
    # another value here means that every row in every Redis must be written again
    assert parse_schema(GOOD, "").fingerprint()[:16] == "a3e4c4b6de835055"


@pytest.mark.parametrize(
    ("path", "value"),
    [("fields.0.lineage", "cd"), ("fields.1.buckets", 11), ("fields.0.default", "x"), ("fields.0.side", "context")],
)
def test_what_changes_the_meaning_changes_the_fingerprint(path: str, value: object) -> None:
    assert parse_schema(changed(path, value), "").fingerprint() != parse_schema(GOOD, "").fingerprint()


@pytest.mark.parametrize(("path", "value"), [("fields.0.size", 9), ("tasks.0.label", "z"), ("split", {"seed": 3})])
def test_growth_tasks_and_splits_do_not(path: str, value: object) -> None:
    assert parse_schema(changed(path, value), "").fingerprint() == parse_schema(GOOD, "").fingerprint()


def test_saved_and_read_is_the_same(tmp_path: Path) -> None:
    schema = parse_schema(GOOD, "")
    schema.save(tmp_path / "schema.json")
    assert read_schema(tmp_path / "schema.json") == schema


@pytest.mark.parametrize(("content", "message"), [(None, "no such file"), ("{", "not JSON"), ("3", "schema.json: ")])
def test_an_unreadable_file_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "schema.json").write_text(content)
    with pytest.raises(SchemaError, match=message):
        read_schema(tmp_path / "schema.json")


def field(**settings: object) -> dict[str, Any]:
    """GOOD and one more field, `x` of the user where nothing else is said."""
    return GOOD | {"fields": [*GOOD["fields"], {"name": "x", "side": "user", **settings}]}


CROSS = {"encoding": "hash", "buckets": 9}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": "w"}, "field 'x': weights is for kind 'multi'"),
        ({"kind": "multi", "max_length": 2, "weights": "x"}, "weights names the column 'x' of the values"),
        ({"encoding": "quantile"}, "buckets is for encoding 'hash' or 'quantile' of ids, and needed there"),
        ({"encoding": "quantile", "buckets": 3, "default": "x"}, "the default of encoding 'quantile' must be a number"),
        ({"encoding": "quantile", "buckets": 3, "kind": "numeric"}, "buckets is for"),
        ({"encoding": "hour", "kind": "multi", "max_length": 2}, "encoding 'hour' makes an id of a value; leave kind"),
        ({"encoding": "hour", "buckets": 24}, "buckets is for"),
        ({"edges": [1.0]}, "edges is for encoding 'quantile'"),
        ({"encoding": "quantile", "buckets": 3, "edges": [1.0, 1.0]}, "edges must be finite numbers in ascending"),
        ({"encoding": "quantile", "buckets": 3, "edges": [1.0, 2.0, 3.0]}, "3 edges make 4 buckets; there are 3"),
        ({"timezone": "Europe/Rome"}, "timezone is for encodings 'hour' and 'weekday'"),
        ({"encoding": "hour", "timezone": "Rome"}, "timezone 'Rome' is not known"),
        ({"encoding": "hour", "default": "now"}, "default 'now' is the moment of a request: for side 'context'"),
        ({"encoding": "hour", "default": "noon"}, "default 'noon' is not a time; use now, ISO 8601"),
        ({"cross": ["city", "age"], "side": "context", **CROSS}, "crosses 'age', which is not a categorical field"),
        ({"cross": ["city", "tags"], "side": "cross", **CROSS}, "crosses 'tags', which is not a categorical field"),
        ({"cross": ["city", "nobody"], "side": "cross", **CROSS}, "crosses 'nobody', which is not a categorical"),
        ({"cross": ["city", "x"], "side": "context", **CROSS}, "crosses 'x', which is not a categorical field"),
        ({"cross": ["city", "city"], "side": "context", **CROSS}, "crosses 'city' with itself"),
        ({"cross": ["city", "city"], "side": "user", **CROSS}, "side of a cross: 'context' where both"),
        ({"cross": ["city", "place"], "side": "cross", **CROSS}, "side must be 'context', since it crosses city and"),
        ({"cross": ["city", "brand"], "side": "context", **CROSS}, "side must be 'cross', since it crosses city and"),
        ({"cross": ["city", "place"], "side": "context"}, "a cross is a categorical field of encoding 'hash'"),
        ({"cross": ["city", "place"], "side": "context", "column": "z", **CROSS}, "has neither column nor default"),
    ],
)
def test_options_that_contradict_each_other_are_refused(settings: dict[str, object], message: str) -> None:
    schema = field(**settings)
    schema["fields"] += [{"name": "place", "side": "context"}, {"name": "brand", "side": "item"}]
    with pytest.raises(SchemaError) as caught:
        parse_schema(schema, "my.yaml")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


WEIGHTED = {"kind": "multi", "max_length": 2, "weights": "w", "encoding": "hash", "buckets": 9}
TIMED = {"side": "context", "encoding": "hour", "default": "now"}
QUANTILE = {"encoding": "quantile", "buckets": 4, "edges": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (WEIGHTED, {name: value for name, value in WEIGHTED.items() if name != "weights"}),
        (TIMED, TIMED | {"timezone": "Europe/Rome"}),
        (TIMED, TIMED | {"encoding": "weekday"}),
        (QUANTILE, QUANTILE | {"edges": [1.0, 2.5]}),
        ({"side": "context", "cross": ["city", "y"], **CROSS}, {"side": "context", "cross": ["y", "city"], **CROSS}),
    ],
)
def test_options_are_part_of_the_meaning(one: dict[str, Any], other: dict[str, Any]) -> None:
    schemas = [field(**settings) for settings in (one, other)]
    for schema in schemas:
        schema["fields"] += [{"name": "y", "side": "user"}]
    first, second = (parse_schema(schema, "").fingerprint() for schema in schemas)
    assert first != second


def test_columns_that_a_field_takes_and_reads() -> None:
    schema = parse_schema(field(**WEIGHTED), "")
    assert dense_columns(schema.request_fields) == {"age": slice(0, 1), "x": slice(1, 3)}
    assert widths(schema.request_fields) == (3, 3)
    assert widths(schema.item_fields) == (2, 0)
    assert schema.by_name["x"].columns == ("x", "w")
    with pytest.raises(SchemaError, match="label 'w' is also an input field"):
        parse_schema(field(**WEIGHTED) | {"tasks": [{"name": "ctr", "label": "w"}]}, "")


@pytest.mark.parametrize("split", [{"by": "column"}, {"column": "part"}])
def test_a_split_by_a_column_names_it(split: dict[str, str]) -> None:
    with pytest.raises(SchemaError, match="split: column is for by 'column', and needed there"):
        parse_schema(GOOD | {"split": split}, "")
    assert parse_schema(GOOD | {"split": {"by": "column", "column": "part"}}, "").split.column == "part"
