"""schema.yaml: what is written reads back, and errors name the line."""

from pathlib import Path

import pytest

from contract.errors import SchemaError
from contract.schema import Schema
from tests.training.datasets.shop import SCHEMA
from training.datasets.census import census_schema
from training.datasets.open_bandit import open_bandit_schema
from training.datasets.schema_file import read_schema_file, write_schema_file
from training.datasets.synthetic.fields import synthetic_schema


@pytest.mark.parametrize("schema", [synthetic_schema(), census_schema("B"), open_bandit_schema()])
def test_what_is_written_reads_back(tmp_path: Path, schema: Schema) -> None:
    write_schema_file(tmp_path / "schema.yaml", schema)
    assert read_schema_file(tmp_path / "schema.yaml") == schema


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("side: context", "side: contxt", 11, r"fields\[6\].side"),
        ("max_length: 3", "max_len: 3", 7, r"fields\[2\]"),
        ("train: 0.7", "train: 1.7", 16, "split.train: Input should be less than 1"),
        ("train: 0.7", "train: 0.95", 16, "must leave a part for test"),
        ("space: ctr", "space: clicks", 1, "space 'clicks' is neither"),
        ("name: age", "name: no", 6, "Input should be a valid string"),
        ("  - {name: cvr", "  - {name: [cvr", 15, "not YAML"),
        ("user_key: user_id", "\tuser_key: user_id", 1, "not YAML"),
        ("time: timestamp", "item_key: timestamp", 3, "key 'item_key' appears twice"),
        ("{name: city, side: user}", "{name: city, side: user, name: x}", 8, "key 'name' appears twice"),
    ],
)
def test_an_error_names_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    path = tmp_path / "schema.yaml"
    path.write_text(SCHEMA.replace(old, new))
    with pytest.raises(SchemaError, match=f"schema.yaml:{line}: .*{message}") as caught:
        read_schema_file(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"just text", b"- a\n", b"\xff\xff", b"a: \x00"])
def test_what_is_no_schema_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "schema.yaml"
    path.write_bytes(content)
    with pytest.raises(SchemaError, match=r"schema.yaml:"):
        read_schema_file(path)
    with pytest.raises(SchemaError, match="cannot be read"):
        read_schema_file(tmp_path)
