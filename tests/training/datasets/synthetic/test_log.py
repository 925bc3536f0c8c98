"""What a log of requests is like: popularity, positions, days, delays."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.training.datasets.synthetic.drawn import all_rows
from training.datasets.synthetic.counters import ZIPF
from training.datasets.synthetic.log import Log
from training.datasets.synthetic.popularity import first_day, ranked
from training.datasets.synthetic.spec import DAY, START, Effects, Spec
from training.datasets.synthetic.tables import draw

SPEC = Spec(200_000, users=20_000, items=2_000, seed=5)


def test_users_and_first_items_are_drawn_by_zipfs_law() -> None:
    """Log frequency falls with log rank, at the law's slope."""
    log = Log(replace(SPEC, cold=0, drift=0))
    blocks = [log.block(number) for number in range(4)]
    users = np.concatenate([block.requests.user for block in blocks])
    first = np.concatenate([block.item[block.position == 1] for block in blocks])
    for numbers in (users, first):
        counts = np.bincount(numbers, minlength=64)
        slope = np.polyfit(np.log(1 + np.arange(64)), np.log(counts[:64]), 1, w=np.sqrt(counts[:64]))[0]
        assert slope == pytest.approx(-ZIPF, abs=0.06)


def test_blocks_are_drawn_apart() -> None:
    """Another block is another part of the log, not the first one again."""
    log = Log(SPEC)
    first, second = log.block(0), log.block(1)
    assert len(first.item) == log.block_rows
    assert (first.requests.user == second.requests.user).mean() < 0.2
    assert abs(np.corrcoef(first.truth[0], second.truth[0])[0, 1]) < 0.2  # positions are the same
    assert first.requests.time[-1] <= second.requests.time[0]


def test_a_row_further_down_is_clicked_less() -> None:
    """By 1 / sqrt(position) in odds, where nothing else differs."""
    spec = replace(SPEC, drift=0.0, effects=Effects(main=0, factors=0, pairs=0), click_rate=0.2)
    log = all_rows(draw(spec).interactions)
    rates = log.group_by("position").agg(pl.col("click").mean()).sort("position")["click"].to_numpy()
    odds = np.log(rates / (1 - rates))
    slope = np.polyfit(np.log(np.arange(1, 11)), odds, 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.03)


def test_cold_items_are_not_shown_before_their_day() -> None:
    log = Log(replace(SPEC, cold=0.4))
    assert not set(first_day(log.spec, np.arange(10))) - {0}
    share = (first_day(log.spec, np.arange(2_000)) > 0).mean()
    assert share == pytest.approx(0.4, abs=0.04)
    met = []
    for number in range(4):
        block = log.block(number)
        day = (block.requests.time[block.request] - START) // DAY
        born = first_day(log.spec, block.item)
        assert (born <= day).all()
        met.append((born > 0).mean())
    assert met == sorted(met)
    assert met[0] < 0.1
    assert met[3] > 0.2
    assert (first_day(replace(SPEC, cold=0), np.arange(2_000)) == 0).all()


def test_popularity_drifts_and_only_where_asked_for() -> None:
    first, next_, last = (ranked(replace(SPEC, cold=0, drift=0.5), day) for day in (0, 1, 7))
    assert sorted(last.tolist()) == list(range(2_000))
    kept = [np.isin(order[:50], first[:50]).mean() for order in (next_, last)]
    assert 0.5 < kept[1] < kept[0] < 1
    assert (ranked(replace(SPEC, cold=0, drift=0), 7) == first).all()


def test_probabilities_drift_with_the_days() -> None:
    """A category's mean probability of one day tells less of that of a later one, by its own walk."""
    spec = replace(SPEC, rows=65_530, items=50, drift=1.0, effects=Effects(main=0, factors=0, pairs=0))
    raw = draw(spec)
    log = all_rows(raw.interactions).join(all_rows(raw.items), on="item_id")
    log = log.with_columns(day=(pl.col("timestamp") - START) // DAY).filter(pl.col("position") == 1)
    cells = log.group_by("category", "day").agg(pl.col("truth:ctr").n_unique(), truth=pl.col("truth:ctr").first())
    assert cells["truth:ctr"].max() == 1
    spread = cells.group_by("day").agg(pl.col("truth").log().std()).sort("day")["truth"].to_list()
    assert spread[0] == pytest.approx(0, abs=1e-4)
    assert spread[7] > 2 * spread[1] > 0.1


@pytest.mark.parametrize("delay", [6.0, 24.0])
def test_conversions_come_later_by_the_mean_delay(delay: float) -> None:
    log = all_rows(draw(replace(SPEC, conversion_rate=0.5, delay=delay)).interactions)
    waited = log.select(pl.col("truth:conversion_time") - pl.col("timestamp")).to_series()
    assert waited.is_not_null().equals(log["conversion"] == 1)
    hours = waited.drop_nulls().to_numpy() / 3_600
    assert hours.mean() == pytest.approx(delay, rel=0.06)
    assert (hours < delay * np.log(2)).mean() == pytest.approx(0.5, abs=0.03)  # the law's median
    assert hours.min() >= 0


def test_late_conversions_are_kept_or_lost_and_counted() -> None:
    spec = replace(SPEC, conversion_rate=0.5, delay=48.0)
    kept, lost = (draw(replace(spec, late=late)).interactions for late in ("kept", "lost"))
    log, seen = all_rows(kept), all_rows(lost)
    late = log["truth:conversion_time"].fill_null(0) >= START + 8 * DAY
    assert late.sum() > 300
    assert seen["conversion"].equals(log["conversion"].set(late, 0))
    assert seen.drop("conversion").equals(log.drop("conversion"))
    last_day = log["timestamp"] >= START + 7 * DAY
    missed = late.filter(last_day & (log["conversion"] == 1)).mean()
    assert missed == pytest.approx(2 * (1 - np.exp(-0.5)), abs=0.05)  # of exponential delays, mean over the day
    counted = [note for part in lost.partitions for chunk in part.chunks() for note in chunk.notes.items()]
    assert [number for _, number in counted] == [late.sum()]
    assert not any(chunk.notes for part in kept.partitions for chunk in part.chunks())
