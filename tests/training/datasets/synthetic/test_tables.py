"""The synthetic log as tables: rates and truth as asked for, the same rows however they are read."""

import hashlib
import pickle
import random
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from tests.training.datasets.synthetic.drawn import all_rows
from training.datasets.partitions import Table
from training.datasets.raw import Raw
from training.datasets.synthetic.spec import BASES, SLATE, Effects, Shape, Spec
from training.datasets.synthetic.tables import draw

SPEC = Spec(30_000, users=2_000, items=300, seed=3)
LONG = replace(SPEC, rows=200_000, users=20_000)  # four blocks
DIGEST = "7b83a1d6478152121ccbe0cbb5ccd49c27282b629933db99ee5cfb2696944d51"


@pytest.fixture(scope="module")
def raw() -> Raw:
    return draw(SPEC)


@pytest.fixture(scope="module")
def log(raw: Raw) -> pl.DataFrame:
    return all_rows(raw.interactions)


@pytest.fixture(scope="module")
def long() -> pl.DataFrame:
    return all_rows(draw(LONG).interactions)


def test_rates_are_those_asked_for(long: pl.DataFrame) -> None:
    """As near as a log of 20,000 requests comes to the mean over all that might have been drawn."""
    assert long["truth:ctr"].mean() == pytest.approx(SPEC.click_rate, rel=0.02)
    click, conversion = long["truth:ctr"].to_numpy(), long["truth:cvr"].to_numpy()
    given_click = (click * conversion).sum() / click.sum()
    assert given_click == pytest.approx(SPEC.conversion_rate, rel=0.03)
    assert long["click"].mean() == pytest.approx(SPEC.click_rate, abs=0.002)
    assert long.filter(pl.col("conversion") > pl.col("click")).is_empty()


@pytest.mark.parametrize("rate", [0.005, 0.25])
def test_conversions_are_two_in_ten_thousand_impressions_to_one_in_a_hundred(rate: float) -> None:
    log = all_rows(draw(replace(LONG, conversion_rate=rate)).interactions)
    expected = log.select(pl.col("truth:ctr") * pl.col("truth:cvr")).to_series().mean()
    assert expected == pytest.approx(rate * SPEC.click_rate, rel=0.05)
    assert 0.00015 < rate * SPEC.click_rate < 0.0105


def test_labels_are_drawn_from_the_truth(log: pl.DataFrame) -> None:
    assert roc_auc_score(log["click"], log["truth:ctr"]) == pytest.approx(0.79, abs=0.04)
    tenths = np.argsort(log["truth:ctr"].to_numpy()).reshape(10, -1)
    drawn, true = (log[name].to_numpy()[tenths].mean(axis=1) for name in ("click", "truth:ctr"))
    assert np.abs((drawn - true) / np.sqrt(true / tenths.shape[1])).max() < 4  # standard errors


def test_conversions_are_drawn_from_their_truth(long: pl.DataFrame) -> None:
    clicks = long.filter(pl.col("click") == 1).sort("truth:cvr")
    fifths = np.array_split(np.arange(len(clicks)), 5)
    for rows in fifths:
        drawn, true = (float(clicks[name].to_numpy()[rows].mean()) for name in ("conversion", "truth:cvr"))
        assert abs(drawn - true) < 4 * np.sqrt(true / len(rows))


def test_nothing_beats_the_truth(long: pl.DataFrame) -> None:
    """The more noise in the logit, the less AUC and the more log loss."""
    truth, labels = long["truth:ctr"].cast(pl.Float64).to_numpy(), long["click"].to_numpy()
    noise = np.random.default_rng(0).normal(size=len(truth))
    logits = np.log(truth / (1 - truth))
    noisy = [1 / (1 + np.exp(-(logits + strength * noise))) for strength in (0, 0.3, 0.6, 1.2)]
    aucs, losses = [roc_auc_score(labels, p) for p in noisy], [log_loss(labels, p) for p in noisy]
    assert aucs == sorted(aucs, reverse=True)
    assert losses == sorted(losses)


def test_a_request_is_one_user_one_moment_and_distinct_items(log: pl.DataFrame) -> None:
    numbered = log.with_columns(request=pl.int_range(SPEC.rows) // SLATE)
    columns = ("user_id", "timestamp", "scene", "item_id", "position")
    per_request = numbered.group_by("request").agg(pl.col(*columns).n_unique())
    assert per_request.select(columns).unique().rows() == [(1, 1, 1, SLATE, SLATE)]


def test_rows_are_in_the_order_of_time_over_all_days(log: pl.DataFrame) -> None:
    assert log["timestamp"].is_sorted()
    days = (log["timestamp"] - 1_767_225_600) // 86_400
    assert days.value_counts()["count"].to_list() == pytest.approx([SPEC.rows / 8] * 8, rel=0.01)
    assert log["hour"].cast(pl.Int64).equals(log["timestamp"] % 86_400 // 3_600, check_names=False)


def test_crosses_are_of_the_users_own_history(raw: Raw, log: pl.DataFrame) -> None:
    joined = log.join(all_rows(raw.users), on="user_id").join(all_rows(raw.items), on="item_id")
    assert len(joined) == len(log)
    for name in ("category", "shop"):
        met = joined.select(pl.col(name).is_in(pl.col(f"history_{name}").fill_null([]))).to_series()
        expected = joined[name].set(~met, None)
        assert joined[f"{name}_in_history"].equals(expected, null_equal=True)
        assert 0.02 < met.to_numpy().mean() < 0.98


def test_effects_of_one_task_alone_exist(log: pl.DataFrame) -> None:
    """Clicks and conversions are related, not the same."""
    both = np.corrcoef(np.log(log["truth:ctr"]), np.log(log["truth:cvr"]))[0, 1]
    assert 0.1 < both < 0.9


OWN_FIELDS = {  # of the pairs that are one task's alone
    "ctr": ("city", "shop", "segment", "brand", "hour", "category"),
    "cvr": ("consumption", "brand", "shopping_depth", "shop", "segment"),
}


@pytest.mark.parametrize(("task", "other"), [("ctr", "cvr"), ("cvr", "ctr")])
def test_some_pairs_are_of_one_task_only(task: str, other: str) -> None:
    """Without shared tables and other terms, a task's own fields decide its probability, and not the other's."""
    spec = replace(LONG, items=12, drift=0.0, effects=Effects(main=0, factors=0, specific=1.0))
    raw = draw(spec)
    log = all_rows(raw.interactions).join(all_rows(raw.users), on="user_id").join(all_rows(raw.items), on="item_id")
    counted = pl.col("truth:ctr", "truth:cvr", "user_id").n_unique()
    groups = log.group_by(*OWN_FIELDS[task], "position").agg(counted).filter(pl.col("user_id") > 1)
    assert len(groups) > 200
    assert groups[f"truth:{task}"].max() == 1
    assert (groups[f"truth:{other}"] > 1).to_numpy().mean() > 0.5


def test_the_default_log_stays_the_same_to_the_bit() -> None:
    """Figures in the benchmarks are measured on it: new options must not change what the old ones draw."""
    raw = draw(Spec(3_000, users=300, items=50))
    tables = [
        all_rows(table).with_columns(pl.col(pl.Float32).round(6)) for table in (raw.interactions, raw.users, raw.items)
    ]
    text = "".join(table.write_ndjson() for table in tables)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST
    assert raw.source == "synthetic: 3000 rows, 300 users, 50 items, seed 1"


def test_the_source_tells_what_is_not_default() -> None:
    flat = Spec(100, seed=2, shape="flat", half="small", click_rate=0.1, conversion_rate=0.2, drift=0, cold=0)
    raw = draw(replace(flat, effects=Effects(pairs=1.5, specific=1.0)))
    assert raw.source == (
        "synthetic: 100 rows, 20000 users, 5000 items, seed 2, flat by small fields, pairs 1.5, specific 1"
    )
    assert draw(replace(SPEC, days=3, late="lost")).source.endswith("seed 3, days 3, late lost")


def test_the_seed_decides(log: pl.DataFrame) -> None:
    assert all_rows(draw(replace(SPEC)).interactions).equals(log)
    assert not all_rows(draw(replace(SPEC, seed=4)).interactions).equals(log)


@pytest.mark.parametrize(("chunk", "partition"), [(5_000, 50_000), (65_530, 131_060), (70_001, 1_000_000)])
def test_rows_are_the_same_whatever_the_chunks_and_partitions(chunk: int, partition: int, long: pl.DataFrame) -> None:
    drawn = draw(LONG, chunk, partition)
    assert isinstance(drawn.interactions, Table)
    assert len(drawn.interactions.partitions) == -(-LONG.rows // partition)
    chunks = [list(part.chunks()) for part in drawn.interactions.partitions]
    assert all(len(chunk_.frame) == chunk for part in chunks for chunk_ in part[:-1])
    assert pl.concat([chunk_.frame for part in chunks for chunk_ in part]).equals(long)
    for table in (drawn.users, drawn.items):
        assert isinstance(table, Table)
    assert all_rows(drawn.users).equals(all_rows(draw(LONG).users))


def test_partitions_are_read_in_any_order_and_place(long: pl.DataFrame) -> None:
    table = draw(LONG, chunk=9_999, partition=30_000).interactions
    numbered = list(enumerate(table.partitions))
    random.Random(1).shuffle(numbered)
    parts = {}
    for number, partition in numbered:
        elsewhere = pickle.loads(pickle.dumps(partition))
        chunks = list(elsewhere.chunks())
        parts[number] = pl.concat([chunk.frame for chunk in chunks])
        rows = np.concatenate([chunk.rows for chunk in chunks])
        assert rows.tolist() == list(range(number * 30_000 + 1, number * 30_000 + 1 + len(rows)))
    assert pl.concat([parts[number] for number in sorted(parts)]).equals(long)
    assert len({partition.identity for partition in table.partitions}) == len(table.partitions)


@pytest.mark.parametrize("shape", ["aliccp", "flat"])
def test_names_are_the_columns(shape: Shape) -> None:
    raw = draw(replace(BASES[shape], rows=100, users=50, items=20))
    for table in (raw.interactions, raw.users, raw.items):
        assert table is not None
        assert list(table.names) == all_rows(table).columns


@pytest.mark.parametrize(("rows", "items"), [(1, 1), (7, 3), (25, 10)])
def test_any_size_draws(rows: int, items: int) -> None:
    assert len(all_rows(draw(Spec(rows, users=2, items=items)).interactions)) == rows
