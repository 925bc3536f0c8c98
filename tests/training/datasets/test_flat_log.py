"""The flat shape: twelve fields, each what its docstring says, pairs in the half asked for."""

import numpy as np
import polars as pl
import pytest

from training.datasets.click_log import Size
from training.datasets.flat_log import CATALOGUE, EFFECTS, PROFILE, Half, draw_flat, pair_tables
from training.datasets.synthetic import draw, synthetic_schema
from training.datasets.truth import Effects

SIZE = Size(30_000, users=2_000, items=300, click_rate=0.1, conversion_rate=0.2)


def test_fields() -> None:
    fields = synthetic_schema("flat").fields
    assert len(fields) == 12
    assert {field.kind.value for field in fields} == {"categorical"}
    raw = draw(SIZE, 1, "flat")
    assert raw.users is not None
    assert raw.items is not None
    for table, sizes in ((raw.users, PROFILE), (raw.items, CATALOGUE)):
        assert {name: table.frame[name].n_unique() for name in sizes} == sizes
    log = raw.interactions.frame
    assert log["position"].value_counts()["count"].unique().to_list() == [3_000]
    hours = log["hour"].value_counts()
    assert len(hours) == 24
    assert np.abs(hours["count"].to_numpy() / 1_250 - 1).max() < 0.4


@pytest.mark.parametrize("half", ["large", "small"])
def test_pairs_are_of_user_and_item_in_one_half(half: Half) -> None:
    ids = PROFILE | CATALOGUE
    tables = pair_tables(half)
    assert tables["both"] == tables["click"] == tables["conversion"]
    assert len(tables["both"]) == 4
    outside = [n for name, n in ids.items() if not any(name in pair for pair in tables["both"])]
    for left, right in tables["both"]:
        assert left in PROFILE
        assert right in CATALOGUE
        assert (ids[left] > max(outside)) == (ids[right] > max(outside)) == (half == "large")


@pytest.mark.parametrize("half", ["large", "small"])
def test_the_truth_is_of_the_pairs_asked_for(half: Half) -> None:
    """With nothing but pairs, one profile and one catalogue value of each field in it decide the probability."""
    only = Effects(main=0, factors=0, pairs=1.0)
    raw = draw(SIZE, 1, "flat", only, half)
    assert raw.users is not None
    assert raw.items is not None
    log = raw.interactions.frame.join(raw.users.frame, on="user_id").join(raw.items.frame, on="item_id")
    fields = sorted({name for pair in pair_tables(half)["both"] for name in pair})
    for task in ("ctr", "cvr"):
        truths = log.group_by(*fields, "position").agg(pl.col(f"truth:{task}").n_unique())
        assert truths[f"truth:{task}"].max() == 1
        assert log.group_by(fields[:3], "position").agg(pl.col(f"truth:{task}").n_unique())[f"truth:{task}"].max() != 1


def test_rates_and_labels() -> None:
    log = draw(SIZE, 1, "flat").interactions.frame
    assert log["truth:ctr"].mean() == pytest.approx(0.1, rel=1e-3)
    assert log["click"].mean() == pytest.approx(0.1, abs=0.006)
    assert log.filter(pl.col("click") == 1)["conversion"].mean() == pytest.approx(0.2, abs=0.03)
    assert Effects(factors=0.2) == EFFECTS


@pytest.mark.parametrize(("rows", "items"), [(1, 1), (7, 3), (25, 10)])
def test_any_size_draws(rows: int, items: int) -> None:
    people, goods, log = (np.random.default_rng(i) for i in range(3))
    assert len(draw_flat(people, goods, log, Size(rows, users=2, items=items)).user) == rows
