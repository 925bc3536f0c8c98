"""The schema refuses what contradicts itself, and its fingerprint changes with the meaning of a row alone."""

from pathlib import Path
from typing import Any

import pytest

from contract.errors import SchemaError
from contract.schema import Schema, parse_schema, read_schema

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
