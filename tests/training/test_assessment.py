"""The `evaluate` command: the metrics of a run, on data of its schema and no other."""

import json
from pathlib import Path

import polars as pl
import pytest

from contract.dictionary import Dictionary
from contract.errors import ConfigError, DataError
from contract.schema import Field, Side, read_schema
from tests.training import tiny
from training.__main__ import main
from training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data/ and a run/ trained on them."""
    folder = tmp_path_factory.mktemp("assessment")
    tiny.prepare(folder / "data", tiny.schema())
    settings = ["--set", "epochs=1", "--set", "model.embedding=4", "--device", "cpu"]
    main(["train", "--data", str(folder / "data"), "--model", "ple", "--out", str(folder / "run"), *settings])
    return folder


def evaluate(folder: Path, data: Path, *more: str) -> int | None:
    return main(["evaluate", "--run", str(folder / "run"), "--data", str(data), "--device", "cpu", *more])


@pytest.mark.parametrize("split", ["validation", "test"])
def test_it_finds_what_training_found(split: str, folder: Path, tmp_path: Path) -> None:
    assert not evaluate(folder, folder / "data", "--split", split, "--out", str(tmp_path / "metrics.json"))
    found = json.loads((tmp_path / "metrics.json").read_bytes())
    kept = load_checkpoint(folder / "run").metrics[split]
    assert found[split].keys() == kept.keys() == {"ctr", "cvr", "ctcvr"}
    for task, numbers in kept.items():
        assert found[split][task] == pytest.approx(numbers, abs=1e-6)


def test_data_of_another_schema_are_refused_and_the_field_is_named(folder: Path, tmp_path: Path) -> None:
    more = [*tiny.FIELDS, Field(name="colour", side=Side.ITEM, size=4)]
    other = tiny.prepare(tmp_path / "more", tiny.schema(more))
    with pytest.raises(ConfigError, match=r"another schema .*the run has no field 'colour'.*train on these data"):
        evaluate(folder, other)


def test_data_with_another_dictionary_are_refused(folder: Path, tmp_path: Path) -> None:
    other = tiny.prepare(tmp_path / "other", tiny.schema())
    schema = read_schema(other / "schema.json")
    lineage = Dictionary.build({"another": 1}).lineage
    fields = [f.model_copy(update={"lineage": lineage}) if f.name == "user" else f for f in schema.fields]
    schema.model_copy(update={"fields": tuple(fields)}).save(other / "schema.json")
    with pytest.raises(ConfigError, match=f"dictionary of field 'user' is .* in the run and {lineage} in the data"):
        evaluate(folder, other)


def test_a_split_without_labels_is_refused(folder: Path, tmp_path: Path) -> None:
    data = tiny.prepare(tmp_path / "data", tiny.schema())
    file = data / "interactions" / "test" / "part-00000.parquet"
    none = pl.lit(None, pl.Float32)
    pl.read_parquet(file).with_columns(none.alias("label:ctr"), none.alias("label:cvr")).write_parquet(file)
    with pytest.raises(DataError, match="the test split has no labelled row"):
        evaluate(folder, data)
