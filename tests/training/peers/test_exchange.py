"""What the libraries are told is what Twinscore's models are told."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.errors import DataError
from contract.schema import Field, Kind, Schema, Side, Task
from tests.training import tiny
from training.datasets.prepared import SPLITS, Prepared
from training.peers.exchange import BINS, Exchange, exchange
from training.peers.trial import Column


@pytest.fixture
def data(tmp_path: Path) -> Prepared:
    return Prepared.open(tiny.prepare(tmp_path / "data", tiny.schema()))


def numbers(tmp_path: Path, values: dict[str, list[float]]) -> Exchange:
    """The exchange of one numeric field with these values by split."""
    field = Field(name="x", side=Side.USER, kind=Kind.NUMERIC, scale=100.0)
    schema = Schema(fields=(field,), tasks=(tiny.CLICK,))
    path = tiny.prepare(tmp_path / "numbers", schema)
    for split, of_split in values.items():
        labels = [float(i % 2) for i in range(len(of_split))]
        frame = pl.DataFrame({"x": of_split, "label:ctr": labels}, schema_overrides={"x": pl.Float32})
        frame.write_parquet(path / "interactions" / split / "part-00000.parquet")
    return exchange(Prepared.open(path))


def test_ids_are_those_of_the_matrices_field_by_field(data: Prepared) -> None:
    told = exchange(data)
    for split in SPLITS:
        matrices, arrays = data.matrices(split), told.arrays
        # tiny.FIELDS: user, likes (3 slots), age, hour | item, price, shelf
        assert np.array_equal(arrays[f"{split}/f0"], matrices.request_ids[:, 0])
        assert np.array_equal(arrays[f"{split}/f1"], matrices.request_ids[:, 1:4])
        assert np.array_equal(arrays[f"{split}/f3"], matrices.request_ids[:, 4])
        assert np.array_equal(arrays[f"{split}/f4"], matrices.item_ids[:, 0])
        assert np.array_equal(arrays[f"{split}/f6"], matrices.item_ids[:, 1])


def test_columns_are_described(data: Prepared) -> None:
    assert exchange(data).columns == (
        Column("f0", "categorical", 21),
        Column("f1", "multi", 7, 3),
        Column("f2", "numeric"),
        Column("f2_bin", "categorical", BINS),
        Column("f3", "categorical", 5),
        Column("f4", "categorical", 11),
        Column("f5", "numeric"),
        Column("f5_bin", "categorical", BINS),
        Column("f6", "categorical", 4),
    )


def test_ids_out_of_range_count_as_missing_as_in_the_models(tmp_path: Path) -> None:
    schema = Schema(fields=(Field(name="u", side=Side.USER, size=9),), tasks=(tiny.CLICK,))
    path = tiny.prepare(tmp_path / "data", schema)
    file = path / "interactions" / "test" / "part-00000.parquet"
    frame = pl.DataFrame({"u": [-1, 8, 9, 3], "label:ctr": [0.0, 1.0, 0.0, 1.0]}, schema_overrides={"u": pl.Int32})
    frame.write_parquet(file)
    assert exchange(Prepared.open(path)).arrays["test/f0"].tolist() == [0, 8, 0, 3]


def test_labels_count_where_known_and_inside_the_space(data: Prepared) -> None:
    file = data.path / "interactions" / "test" / "part-00000.parquet"
    frame = pl.read_parquet(file)
    unknown = pl.when(pl.int_range(pl.len()) < 10).then(None).otherwise(pl.col("label:ctr"))
    frame.with_columns(unknown.alias("label:ctr")).write_parquet(file)
    labels = exchange(data).arrays["test/labels"]
    assert np.isnan(labels[:10]).all()  # a conversion after nobody knows whether a click is not counted
    clicked = frame["label:ctr"].to_numpy()[10:] == 1
    assert np.array_equal(labels[10:, 0], frame["label:ctr"].to_numpy()[10:])
    assert np.array_equal(labels[10:, 1][clicked], frame["label:cvr"].to_numpy()[10:][clicked])
    assert np.isnan(labels[10:, 1][~clicked]).all()


def test_numbers_are_standardised_as_the_models_do(data: Prepared) -> None:
    told, matrices = exchange(data), data.matrices("validation")
    age, price = matrices.request_dense[:, 0], matrices.item_dense[:, 0]
    assert told.arrays["validation/f2"] == pytest.approx((age - 1.0) / 2.0)
    assert told.arrays["validation/f5"] == pytest.approx(np.sign(price) * np.log1p(np.abs(price)))


def test_one_absurd_number_is_cut_as_the_models_do(tmp_path: Path) -> None:
    assert numbers(tmp_path, {"test": [1e9, -1e9, 50.0]}).arrays["test/f0"].tolist() == [20.0, -20.0, 0.5]


def test_bins_are_of_distinct_training_values(tmp_path: Path) -> None:
    mostly_zero = [0.0] * 900 + [float(i) for i in range(1, 129)]
    arrays = numbers(tmp_path, {"train": mostly_zero, "test": [-5.0, 0.0, 64.0, 500.0]}).arrays
    assert len(np.unique(arrays["train/f0_bin"])) == BINS
    test = arrays["test/f0_bin"]
    assert test[0] == test[1] == 0
    assert 0 < test[2] < test[3] == BINS - 1


def test_few_values_have_a_bin_each(tmp_path: Path) -> None:
    arrays = numbers(tmp_path, {"train": [3.0, 1.0, 2.0, 1.0], "test": [1.0, 2.0, 3.0, 2.5]}).arrays
    assert arrays["train/f0_bin"].tolist() == [2, 0, 1, 0]
    assert arrays["test/f0_bin"].tolist() == [0, 1, 2, 1]


def test_tasks_weigh_by_how_well_their_auc_is_known(data: Prepared) -> None:
    told = exchange(data)
    labels = data.matrices("validation").labels
    clicks, buys = labels["ctr"].sum(), labels["cvr"][labels["ctr"] == 1].sum()
    assert told.selection == pytest.approx((clicks * (400 - clicks) / 401, buys * (clicks - buys) / (clicks + 1)))


def test_what_is_saved_is_what_was_told(data: Prepared, tmp_path: Path) -> None:
    told = exchange(data)
    told.save(tmp_path)
    with np.load(tmp_path / "data.npz") as saved:
        assert set(saved) == set(told.arrays)
        assert all(np.array_equal(saved[name], told.arrays[name], equal_nan=True) for name in saved)


def test_continuous_tasks_are_refused(tmp_path: Path) -> None:
    tasks = (tiny.CLICK, Task(name="spend", label="s", kind="continuous"))
    path = tiny.prepare(tmp_path / "data", tiny.schema(tasks=tasks))
    with pytest.raises(DataError, match="task 'spend' is continuous"):
        exchange(Prepared.open(path))


def test_a_validation_split_of_one_class_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no task has both classes"):
        numbers(tmp_path, {"validation": [1.0]})
