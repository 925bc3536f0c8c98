"""Census-Income: the fixed split, the columns that must stay out, the known rates."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from contract.errors import DataError
from training.datasets.census import read_census
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import USER, Prepared

RAW = Path(os.environ.get("TWINSCORE_DATA", "../shared/data")) / "census"
needs_data = pytest.mark.skipif(not RAW.is_dir(), reason=f"{RAW} is absent; set TWINSCORE_DATA")
LEAKS = {"marital_status", "household_family_detail", "household_summary", "tax_filer_status", "instance_weight"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    out = tmp_path_factory.mktemp("census") / "out"
    write_prepared(read_census(RAW), out)
    return Prepared.open(out)


@needs_data
def test_the_split_is_the_permutation(prepared: Prepared) -> None:
    order = np.random.default_rng(20261122).permutation(99_762)
    found = [set(prepared.interactions(split).collect()[USER]) for split in ("train", "validation", "test")]
    assert found == [set(order[:69_833]), set(order[69_833:79_809]), set(order[79_809:])]


@needs_data
def test_rates_and_inputs_of_pair_a(prepared: Prepared) -> None:
    labels = prepared.matrices("train").labels
    assert labels["income"].mean() == pytest.approx(0.062, abs=0.001)
    assert labels["never_married"].mean() == pytest.approx(0.4325, abs=0.003)
    inputs = set(prepared.schema.by_name)
    assert not inputs & (LEAKS | {"income"})
    assert "education" in inputs
    assert len(inputs) == 36


@needs_data
def test_pair_b() -> None:
    raw = read_census(RAW, "B")
    assert raw.interactions.frame["label_college"].to_numpy().mean() == pytest.approx(0.1472, abs=0.0001)
    assert raw.interactions.frame["label_never_married"].to_numpy().mean() == pytest.approx(0.4325, abs=0.0001)
    assert not {field.name for field in raw.schema.fields} & (LEAKS | {"income", "education"})


@needs_data
def test_stored_persons_hold_their_values(prepared: Prepared) -> None:
    with gzip.open(RAW / "census-income.test.gz", "rt") as stream:
        first = [cell.strip() for cell in next(stream).split(",")]
    stored = prepared.table(prepared.schema.fields[0].side).head(1).collect()
    assert stored["age"][0] == float(first[0])
    assert prepared.dictionaries["class_of_worker"].decode([stored["class_of_worker"][0]]) == [first[1]]


@pytest.mark.parametrize("content", [b"", b"1,2,3\n", b"not gzip"])
def test_another_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "census-income.test.gz"
    path.write_bytes(content if content == b"not gzip" else gzip.compress(content))
    with pytest.raises(DataError, match=r"cannot be read|not Census-Income"):
        read_census(tmp_path)
    path.unlink()
    with pytest.raises(DataError, match="no such file"):
        read_census(tmp_path)
