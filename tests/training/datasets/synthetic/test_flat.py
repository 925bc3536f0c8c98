"""The flat shape: twelve fields, each what its docstring says, pairs in the half asked for."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from tests.training.datasets.synthetic.drawn import all_rows
from training.datasets.synthetic.fields import synthetic_schema
from training.datasets.synthetic.population import FLAT_CATALOGUE, FLAT_PROFILE, pair_tables
from training.datasets.synthetic.spec import BASES, Effects, Half, Spec
from training.datasets.synthetic.tables import draw

SPEC = replace(BASES["flat"], rows=30_000, users=2_000, items=300)


def test_fields() -> None:
    fields = synthetic_schema("flat").fields
    assert len(fields) == 12
    assert {field.kind.value for field in fields} == {"categorical"}
    raw = draw(SPEC)
    for table, sizes in ((all_rows(raw.users), FLAT_PROFILE), (all_rows(raw.items), FLAT_CATALOGUE)):
        assert {name: table[name].n_unique() for name in sizes} == sizes
    log = all_rows(raw.interactions)
    assert log["position"].value_counts()["count"].unique().to_list() == [3_000]
    hours = log["hour"].value_counts()
    assert len(hours) == 24
    assert np.abs(hours["count"].to_numpy() / 1_250 - 1).max() < 0.4


@pytest.mark.parametrize("half", ["large", "small"])
def test_pairs_are_of_user_and_item_in_one_half(half: Half) -> None:
    ids = FLAT_PROFILE | FLAT_CATALOGUE
    tables = pair_tables(replace(SPEC, half=half))
    assert tables["both"] == tables["click"] == tables["conversion"]
    assert len(tables["both"]) == 4
    outside = [n for name, n in ids.items() if not any(name in pair for pair in tables["both"])]
    for left, right in tables["both"]:
        assert left in FLAT_PROFILE
        assert right in FLAT_CATALOGUE
        assert (ids[left] > max(outside)) == (ids[right] > max(outside)) == (half == "large")


@pytest.mark.parametrize("half", ["large", "small"])
def test_the_truth_is_of_the_pairs_asked_for(half: Half) -> None:
    """With nothing but pairs, one profile and one catalogue value of each field in it decide the probability."""
    only = Effects(main=0, factors=0, pairs=1.0)
    spec = replace(SPEC, effects=only, half=half)
    raw = draw(spec)
    log = all_rows(raw.interactions).join(all_rows(raw.users), on="user_id").join(all_rows(raw.items), on="item_id")
    fields = sorted({name for pair in pair_tables(spec)["both"] for name in pair})
    for task in ("ctr", "cvr"):
        truths = log.group_by(*fields, "position").agg(pl.col(f"truth:{task}").n_unique())
        assert truths[f"truth:{task}"].max() == 1
        assert log.group_by(fields[:3], "position").agg(pl.col(f"truth:{task}").n_unique())[f"truth:{task}"].max() != 1


def test_rates_and_labels() -> None:
    log = all_rows(draw(SPEC).interactions)
    assert log["truth:ctr"].mean() == pytest.approx(0.1, rel=0.03)
    assert log["click"].mean() == pytest.approx(0.1, abs=0.006)
    assert log.filter(pl.col("click") == 1)["conversion"].mean() == pytest.approx(0.2, abs=0.03)
    assert BASES["flat"].effects == Effects(factors=0.2)


@pytest.mark.parametrize(("rows", "items"), [(1, 1), (7, 3), (25, 10)])
def test_any_size_draws(rows: int, items: int) -> None:
    spec: Spec = replace(SPEC, rows=rows, users=2, items=items)
    assert len(all_rows(draw(spec).interactions)) == rows


def test_it_stands_still() -> None:
    assert (SPEC.drift, SPEC.cold) == (0, 0)
