"""Ali-CCP's files through the whole of `prepare`."""

from pathlib import Path

import polars as pl
import pytest

from contract.dictionary import Dictionary
from contract.errors import DataError
from contract.schema import Side
from tests.training.datasets.aliccp.files import ALICE, BOB, GONE, PLAIN, TEST, frame, impression, read, write
from training.datasets.aliccp.drawn import write_synthetic
from training.datasets.aliccp.source import IMPOSSIBLE, read_aliccp
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import ITEM, KEY, USER, Prepared
from training.datasets.synthetic.spec import Spec

# enough rows for both parts of the training file; the first is one that trains
TRAIN = [
    impression(1, f"{PLAIN} 853:10000020=0.5 853:10000021=1.5", "1,1"),
    impression(2, PLAIN, "0,1"),
    *(impression(i, f"205:{3_964_448 + i % 3} 207:8322057", "0,0", (BOB, GONE)[i % 2]) for i in range(3, 40)),
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("aliccp")
    raw = read(write(folder / "raw", sample_skeleton_train=TRAIN, sample_skeleton_test=TEST))
    write_prepared(raw, folder / "out")
    return Prepared.open(folder / "out")


def known(prepared: Prepared, field: str, *values: int) -> list[int]:
    """Ids of raw values."""
    found = Dictionary.load(prepared.path / "dictionaries" / f"{field}.npz").encode([str(value) for value in values])
    return [int(value) for value in found]


def test_parts_follow_the_files(prepared: Prepared) -> None:
    rows = prepared.description.rows
    assert rows["test"] == 2
    assert rows["train"] + rows["validation"] == 38
    assert 1 <= rows["validation"] <= 12
    assert prepared.description.notes[IMPOSSIBLE] == 1
    assert prepared.description.rejected == 0


def test_weighted_lists_keep_values_beside_ids(prepared: Prepared) -> None:
    first = prepared.interactions("train").collect().row(0, named=True)
    ids = known(prepared, "intention_in_history", 10_000_021, 10_000_020)
    assert first["intention_in_history"] == [*ids, 0, 0, 0]
    assert 0 not in ids
    assert first["intention_in_history:weights"] == [1.5, 0.5, 0, 0, 0]
    users = prepared.table(Side.USER).collect()
    alice = users.row(by_predicate=pl.col(KEY) == ALICE, named=True)
    expected = known(prepared, "category_history", 444_862, 444_863, 444_864)
    assert alice["category_history"][:4] == [*expected, 0]
    assert alice["category_history:weights"][:4] == [2.5, 0.5, 0.5, 0]


def test_an_index_that_no_common_file_has_is_a_user_of_defaults(prepared: Prepared) -> None:
    users = prepared.table(Side.USER).collect()
    gone = users.row(by_predicate=pl.col(KEY) == GONE, named=True)
    assert users[KEY].to_list() == [ALICE, BOB, "0a", GONE]
    assert gone["user_id"] == 0
    assert not any(gone["shop_history"])


def test_ids_that_training_does_not_know_become_zero(prepared: Prepared) -> None:
    test = prepared.interactions("test").collect()
    assert test["category"].to_list() == [known(prepared, "category", 8_313_062)[0], 0]
    assert test["brand_in_history"].to_list() == [[0], [0]]
    users = prepared.table(Side.USER).collect()
    assert users["user_id"].to_list()[:2] == known(prepared, "user_id", 31, 32)
    assert users.row(by_predicate=pl.col(KEY) == "0a", named=True)["geography"] == 0  # of a test user
    keys = [[users[KEY][row] for row in test[USER]], [prepared.table(Side.ITEM).collect()[KEY][r] for r in test[ITEM]]]
    assert keys == [[BOB, ALICE], ["3964447", "3964448"]]


def test_an_item_is_stored_as_it_was_last(prepared: Prepared) -> None:
    items = prepared.table(Side.ITEM).collect()
    last = items.row(by_predicate=pl.col(KEY) == "3964447", named=True)
    assert last["category"] == known(prepared, "category", 8_313_062)[0] > 0
    assert last["shop"] == known(prepared, "shop", 8_322_056)[0] > 0


def test_a_bad_line_stops_with_file_and_line(tmp_path: Path) -> None:
    lines = [*TRAIN[:3], "4,0,0\n", *TRAIN[3:]]
    raw = read(write(tmp_path / "raw", sample_skeleton_train=lines))
    with pytest.raises(DataError, match=r"sample_skeleton_train.csv, row 4.*3 cells, not 6") as caught:
        write_prepared(raw, tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_synthetic_log_prepares_with_its_labels(tmp_path: Path) -> None:
    write_synthetic(Spec(rows=4_000, users=100, items=50, conversion_rate=0.4), tmp_path / "raw")
    raw = read_aliccp(tmp_path / "raw", 0.2, 10, 2)
    write_prepared(raw, tmp_path / "out")
    prepared, back = Prepared.open(tmp_path / "out"), frame(raw.interactions)
    for part in ("train", "validation", "test"):
        expected = back.filter(pl.col("split") == part)
        rows = prepared.interactions(part).collect()
        assert rows["label:ctr"].cast(pl.Int8).equals(expected["click"])
        assert rows["label:cvr"].cast(pl.Int8).equals(expected["conversion"])
        keys = prepared.table(Side.USER).collect()[KEY].gather(rows[USER])
        assert keys.equals(expected["common_feature_index"])
