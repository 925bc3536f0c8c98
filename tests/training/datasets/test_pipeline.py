"""`table` from end to end: what is stored where, what is measured on what, and that nothing half-written stays."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.encoding import encode_field
from contract.errors import DataError, SchemaError, TwinscoreError
from contract.schema import Side
from tests.training.datasets.shop import ROWS, SCHEMA, interactions, items, schema_with, users, write_shop
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import ITEM, KEY, SPLITS, USER, Prepared
from training.datasets.table import read_tables


def prepare(folder: Path, out: Path | None = None) -> Prepared:
    out = out or folder.parent / "out"
    write_prepared(read_tables(folder), out)
    return Prepared.open(out)


@pytest.fixture
def shop(tmp_path: Path) -> Prepared:
    return prepare(write_shop(tmp_path / "raw"))


def test_every_impression_lands_once_with_its_labels(shop: Prepared) -> None:
    assert shop.description.rows == {"train": 280, "validation": 40, "test": 80}
    labels = pl.concat([shop.interactions(split).collect() for split in SPLITS])
    assert labels["label:ctr"].to_list() == interactions()["click"].to_list()  # in order, since split by time
    assert labels["label:cvr"].to_list() == interactions()["conversion"].to_list()


def test_impressions_point_to_their_rows(shop: Prepared) -> None:
    for side, row, name in ((Side.USER, USER, "user_id"), (Side.ITEM, ITEM, "item_id")):
        keys = shop.table(side).collect()[KEY]
        found = pl.concat([shop.interactions(split).collect() for split in SPLITS])[row]
        assert keys.gather(found).to_list() == interactions()[name].to_list()


def test_everyone_gets_a_stored_row(shop: Prepared) -> None:
    stored = shop.table(Side.USER).collect()
    known = users()["user_id"].to_list()
    assert stored[KEY].to_list()[: len(known)] == known
    assert set(stored[KEY]) == set(known) | set(interactions()["user_id"])
    late = stored.filter(pl.col(KEY) == "u36")  # the users table does not know this one
    assert late["age"].to_list() == [0.0]
    assert late["tags"].to_list() == [[0, 0, 0]]
    assert late["user_id"][0] > 0


def test_latest_value_of_a_field_that_only_interactions_hold(shop: Prepared) -> None:
    stored = shop.table(Side.USER).collect()
    last = dict(interactions().select("user_id", "city").iter_rows())
    expected = encode_field(shop.schema.by_name["city"], shop.dictionaries, [last.get(key) for key in stored[KEY]])
    assert stored["city"].to_list() == expected[:, 0].tolist()
    moment = pl.concat([shop.interactions(split).collect() for split in SPLITS])["city"]
    expected = encode_field(shop.schema.by_name["city"], shop.dictionaries, interactions()["city"].to_list())
    assert moment.to_list() == expected[:, 0].tolist()


def test_latest_is_by_time_not_by_row(tmp_path: Path) -> None:
    shop = prepare(write_shop(tmp_path / "raw", interactions=interactions().reverse()))
    stored = shop.table(Side.USER).collect()
    last = dict(interactions().select("user_id", "city").iter_rows())
    ids = shop.dictionaries["city"].encode([last.get(key) for key in stored[KEY]])
    assert stored["city"].to_list() == ids.tolist()


def test_vocabulary_and_scale_are_those_of_training_impressions(shop: Prepared) -> None:
    train = interactions()[:280].join(users(), on="user_id", how="left").join(items(), on="item_id", how="left")
    assert shop.schema.by_name["user_id"].size == 1 + train["user_id"].n_unique()
    assert shop.dictionaries["user_id"].encode(["u99"]).tolist() == [0]  # in the users table, never shown anything
    age = train["age"].fill_null(0)
    assert shop.schema.by_name["age"].mean == pytest.approx(age.mean(), rel=1e-5)
    assert shop.schema.by_name["age"].scale == pytest.approx(age.std(ddof=0), rel=1e-5)
    price = train["price"].fill_null(5).log1p()
    assert shop.schema.by_name["price"].mean == pytest.approx(price.mean(), rel=1e-5)
    counts = train["tags"].drop_nulls().str.split("|").list.head(3).explode().value_counts()
    assert set(shop.dictionaries["tags"].decode(range(1, 4))) == set(counts["tags"])


def test_min_count_counts_training_impressions(tmp_path: Path) -> None:
    text = SCHEMA.replace("name: user_id,", "name: user_id, min_count: 20,")
    shop = prepare(write_shop(tmp_path / "raw", schema=text))
    counts = interactions()[:280]["user_id"].value_counts()
    assert shop.schema.by_name["user_id"].size == 1 + len(counts.filter(pl.col("count") >= 20))


def test_stored_values_equal_what_the_service_encodes(shop: Prepared) -> None:
    stored = shop.table(Side.ITEM).collect()
    raw = items().join(pl.DataFrame({"item_id": stored[KEY]}), on="item_id", how="right")
    expected = encode_field(shop.schema.by_name["price"], {}, raw["price"].to_list())
    assert stored["price"].to_list() == expected.tolist()
    assert stored[KEY].to_list() == [f"00{i}" for i in range(12)]  # ids stay texts


def test_matrices_join_moment_and_stored(shop: Prepared) -> None:
    train = shop.matrices("train")
    assert train.request_ids.shape == (280, 1 + 3 + 1 + 1)  # user, tags, city, device
    assert train.item_ids.shape == (280, 2)
    assert train.request_ids.min() >= 0
    assert shop.dictionaries["device"].decode(train.request_ids[:12, -1]) == ["d0"] * 10 + ["d1"] * 2
    assert np.isfinite(train.request_dense).all()
    assert train.users is not None
    assert (
        shop.table(Side.USER).collect()[KEY].gather(train.users).to_list() == interactions()["user_id"][:280].to_list()
    )


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    raw = write_shop(tmp_path / "raw")
    first, second = prepare(raw, tmp_path / "a").path, prepare(raw, tmp_path / "b").path
    assert digests(first) == digests(second)
    assert len(digests(first)) == 13


def test_parquet_csv_and_typed_ids_prepare_alike(tmp_path: Path) -> None:
    numbered = interactions().with_columns(user_id=pl.col("user_id").str.slice(1).cast(pl.Int64))
    known = users().with_columns(user_id=pl.col("user_id").str.slice(1).cast(pl.Int64))
    text = write_shop(tmp_path / "raw", interactions=numbered, users=known)
    typed = write_shop(tmp_path / "typed", interactions=None, users=None)
    numbered.write_parquet(typed / "interactions.parquet")
    known.with_columns(pl.col("user_id").cast(pl.Float64)).write_parquet(typed / "users.parquet")
    assert digests(prepare(text, tmp_path / "a").path) == digests(prepare(typed, tmp_path / "b").path)


def test_without_keys_fields_stay_with_the_moment(tmp_path: Path) -> None:
    fields = [{"name": "city", "side": "user"}, {"name": "position", "side": "cross"}]
    text = schema_with(user_key=None, item_key=None, fields=fields)
    shop = prepare(write_shop(tmp_path / "raw", users=None, items=None, schema=text))
    assert shop.interactions("train").collect_schema().names() == ["label:ctr", "label:cvr", "city", "position"]
    assert shop.table(Side.USER).collect().rows() == []
    assert shop.table(Side.USER).collect_schema().names() == [KEY, "city"]
    assert len(shop.matrices("test")) == 80
    assert shop.matrices("test").users is None


def test_unknown_labels_stay_unknown_and_truth_passes_through(tmp_path: Path) -> None:
    frame = interactions().with_columns(
        pl.when(pl.int_range(ROWS) % 2 == 0).then(pl.col("conversion")).alias("conversion"),
        pl.lit(0.25).alias("truth:ctr"),
    )
    clicks = frame["conversion"].set(pl.Series([True] + [False] * (ROWS - 1)), 1)
    shop = prepare(write_shop(tmp_path / "raw", interactions=frame.with_columns(conversion=clicks)))
    train = shop.matrices("train")
    assert np.isnan(train.labels["cvr"]).sum() == 140
    assert set(train.truth) == {"ctr"}
    assert (train.truth["ctr"] == 0.25).all()


CONTINUOUS = SCHEMA.replace("label: conversion, space: ctr", "label: spent, space: ctr, kind: continuous")


def test_continuous_labels_pass_through_as_numbers(tmp_path: Path) -> None:
    spent = [None if i % 4 == 0 else i - 50.25 for i in range(ROWS)]
    frame = interactions().with_columns(spent=pl.Series(spent))
    shop = prepare(write_shop(tmp_path / "raw", interactions=frame, schema=CONTINUOUS))
    labels = np.concatenate([shop.matrices(split).labels["cvr"] for split in SPLITS])
    assert np.array_equal(labels, np.array(spent, np.float32), equal_nan=True)


def test_a_constant_number_has_scale_one(tmp_path: Path) -> None:
    same = users().with_columns(age=pl.lit(7))
    known = pl.DataFrame({"user_id": interactions()["user_id"].unique()}).with_columns(age=pl.lit(7), tags=pl.lit("t1"))
    shop = prepare(write_shop(tmp_path / "raw", users=known))
    assert len(same)
    assert (shop.schema.by_name["age"].mean, shop.schema.by_name["age"].scale) == (7.0, 1.0)


def test_hash_and_renamed_columns(tmp_path: Path) -> None:
    fields = [
        {"name": "who", "side": "user", "column": "user_id", "encoding": "hash", "buckets": 10},
        {"name": "place", "side": "cross", "column": "The position"},
    ]
    frame = interactions().rename({"position": "The position"})
    shop = prepare(write_shop(tmp_path / "raw", interactions=frame, schema=schema_with(fields=fields)))
    assert shop.schema.by_name["who"].size == 11
    ids = shop.table(Side.USER).collect()["who"]
    assert (ids.min(), ids.max()) >= (1, 1)
    assert (ids <= 10).all()
    assert shop.dictionaries["place"].encode(["10"])[0] > 0


def test_the_output_is_replaced_whole_but_nothing_else_is(tmp_path: Path) -> None:
    raw = write_shop(tmp_path / "raw")
    (prepare(raw).path / "stale").touch()
    assert not (prepare(raw).path / "stale").exists()
    with pytest.raises(DataError, match="exists and is not a prepared data set"):
        prepare(raw, raw)
    (tmp_path / "empty").mkdir()
    prepare(raw, tmp_path / "empty")


def with_cell(frame: pl.DataFrame, column: str, row: int, value: str | None) -> pl.DataFrame:
    texts = frame[column].cast(pl.String)
    texts[row - 1] = value
    return frame.with_columns(texts)


TWICE = pl.concat([users(), users()[:1]])
NO_CLICK = interactions().with_columns(click=pl.lit(0))
LATE_CLICK = with_cell(NO_CLICK, "click", ROWS, "1")
LATE_SPENT = interactions().with_columns(spent=pl.Series([None] * (ROWS - 1) + [9.5]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"interactions": None}, "raw: no interactions.csv"),
        ({"interactions": ""}, "interactions.csv: the file is empty"),
        ({"interactions": interactions()[:0]}, "interactions.csv: has no rows"),
        ({"interactions": interactions().drop("click")}, "no column 'click' .label of task 'ctr'"),
        ({"interactions": interactions().drop("user_id")}, "interactions.csv: no column 'user_id' .user_key"),
        ({"interactions": interactions().drop("device")}, "no column 'device' .field 'device'"),
        ({"interactions": interactions().drop("city")}, "users.csv and .*interactions.csv: no column 'city'"),
        ({"users": users().drop("user_id")}, "users.csv: no column 'user_id'"),
        (
            {"interactions": with_cell(interactions(), "click", 7, "2")},
            r"column 'click', row 7 \(line 8\): the label is '2'",
        ),
        (
            {"interactions": with_cell(interactions(), "click", 8, "yes")},
            r"column 'click', row 8 \(line 9\): 'yes' is not a number",
        ),
        (
            {"interactions": with_cell(interactions(), "user_id", 5, None)},
            r"'user_id', row 5 \(line 6\): the id is missing",
        ),
        (
            {"users": with_cell(users(), "user_id", 2, None)},
            r"users.csv: column 'user_id', row 2 \(line 3\): the id is missing",
        ),
        ({"users": TWICE}, r"users.csv: column 'user_id', row 32 \(line 33\): 'u0' appeared before"),
        (
            {"users": with_cell(users(), "age", 3, "old")},
            r"users.csv: column 'age', row 3 \(line 4\): 'old' is not a number",
        ),
        (
            {"interactions": with_cell(interactions(), "timestamp", 9, "noon")},
            r"'timestamp', row 9 \(line 10\): 'noon' is not a time",
        ),
        ({"interactions": interactions().with_columns(timestamp=pl.lit(1))}, "leaves no rows for train"),
        ({"interactions": interactions()[:20]}, "leaves no rows for validation"),
        ({"interactions": LATE_CLICK}, "no 1 among the training rows; task 'ctr'"),
        (
            {"interactions": LATE_SPENT, "schema": CONTINUOUS},
            "'spent': no value among the training rows; task 'cvr'",
        ),
        (
            {"interactions": with_cell(LATE_SPENT, "spent", 3, "much"), "schema": CONTINUOUS},
            r"column 'spent', row 3 \(line 4\): 'much' is not a number",
        ),
        ({"interactions": interactions().write_csv() + "u2\n"}, r"row 401 \(line 402\): 1 cells where the header has"),
        ({"schema": schema_with(user_key=None)}, "users.csv: the schema has no user_key"),
        ({"schema": SCHEMA.replace("label: click", "label: device")}, "schema.yaml:.*label 'device' is also an input"),
        ({"schema": SCHEMA.replace("side: cross", "side: crss")}, r"schema.yaml:12: fields\[7\].side"),
        ({"schema": SCHEMA + "oops: [\n"}, "schema.yaml:18: not YAML"),
        ({"schema": SCHEMA + "time: day\n"}, "schema.yaml:17: key 'time' appears twice"),
        ({"schema": ""}, "schema.yaml: empty"),
    ],
)
def test_bad_input_gives_one_line_and_leaves_nothing(
    tmp_path: Path, changes: dict[str, pl.DataFrame | str | None], message: str
) -> None:
    raw = write_shop(tmp_path / "raw", **changes)
    with pytest.raises(TwinscoreError, match=message) as caught:
        prepare(raw)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_missing_places_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        read_tables(tmp_path / "nowhere")
    with pytest.raises(DataError, match="give --raw DIR, or --interactions FILE"):
        read_tables(None)
    raw = write_shop(tmp_path / "raw")
    with pytest.raises(DataError, match="no schema; give --schema FILE"):
        read_tables(None, raw / "interactions.csv")
    (raw / "users.parquet").touch()
    with pytest.raises(DataError, match=r"both users.csv and users.parquet"):
        read_tables(raw)
    (raw / "users.parquet").unlink()
    (raw / "schema.yaml").unlink()
    with pytest.raises(SchemaError, match="no such file; `python -m training schema` drafts one"):
        read_tables(raw)


def test_an_interruption_leaves_the_old_data_set_and_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = write_shop(tmp_path / "raw")
    before = digests(prepare(raw).path)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("training.datasets.pipeline.replace_folder", interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepare(raw)
    assert digests(tmp_path / "out") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.unfinished", "raw"]
    assert digests(prepare(raw).path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "raw"]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_long_ids_stay_whole(tmp_path: Path) -> None:
    long = interactions().with_columns(item_id="https://shop.example/" + pl.lit("x" * 150) + pl.col("item_id"))
    shop = prepare(write_shop(tmp_path / "raw", interactions=long, items=None, schema=schema_with(fields=LONG)))
    stored = shop.table(Side.ITEM).collect()
    assert set(stored[KEY]) == set(long["item_id"])  # a service asks for them by these
    assert (shop.dictionaries["item_id"].encode(stored[KEY].to_list()) == stored["item_id"].to_numpy()).all()
    assert stored["item_id"].min() == 1


LONG = [{"name": "item_id", "side": "item"}]
