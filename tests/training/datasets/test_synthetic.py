"""The synthetic log: rates and truth as asked for, reproducible, and the same through files."""

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from training.datasets.click_log import SLATE, Size
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import Prepared
from training.datasets.raw import Raw
from training.datasets.synthetic import Shape, draw, synthetic_schema
from training.datasets.table import read_tables, write_tables
from training.datasets.truth import Effects

SIZE = Size(30_000, users=2_000, items=300)
DIGEST = "b2015c44c4b060dd80abc8fbc503b35d3f88304bcfe9f076ee67e42a6c25e9f9"


@pytest.fixture(scope="module")
def raw() -> Raw:
    return draw(SIZE, seed=3)


def test_rates_are_those_asked_for(raw: Raw) -> None:
    log = raw.interactions.frame
    assert log["truth:ctr"].mean() == pytest.approx(SIZE.click_rate, rel=1e-3)
    click, conversion = log["truth:ctr"].to_numpy(), log["truth:cvr"].to_numpy()
    given_click = (click * conversion).sum() / click.sum()
    assert given_click == pytest.approx(SIZE.conversion_rate, rel=1e-3)
    assert log["click"].mean() == pytest.approx(SIZE.click_rate, abs=0.005)
    assert log.filter(pl.col("conversion") > pl.col("click")).is_empty()


def test_labels_are_drawn_from_the_truth(raw: Raw) -> None:
    log = raw.interactions.frame
    assert roc_auc_score(log["click"], log["truth:ctr"]) == pytest.approx(0.79, abs=0.04)
    tenths = np.argsort(log["truth:ctr"].to_numpy()).reshape(10, -1)
    drawn, true = (log[name].to_numpy()[tenths].mean(axis=1) for name in ("click", "truth:ctr"))
    assert np.abs((drawn - true) / np.sqrt(true / tenths.shape[1])).max() < 4  # standard errors


def test_a_request_is_one_user_one_moment_and_distinct_items(raw: Raw) -> None:
    log = raw.interactions.frame.with_columns(request=pl.int_range(SIZE.rows) // SLATE)
    per_request = log.group_by("request").agg(pl.col("user_id", "timestamp", "scene", "item_id", "position").n_unique())
    assert per_request.select("user_id", "timestamp", "scene", "item_id", "position").unique().rows() == [
        (1, 1, 1, SLATE, SLATE)
    ]


def test_crosses_are_of_the_users_own_history(raw: Raw) -> None:
    assert raw.users is not None
    assert raw.items is not None
    log = raw.interactions.frame.join(raw.users.frame, on="user_id").join(raw.items.frame, on="item_id")
    for name in ("category", "shop"):
        met = log.select(pl.col(name).is_in(pl.col(f"history_{name}").fill_null("").str.split("|"))).to_series()
        assert log[f"{name}_in_history"].equals(log[name].set(~met, None), null_equal=True)
        assert 0.02 < met.to_numpy().mean() < 0.98


def test_effects_of_one_task_alone_exist(raw: Raw) -> None:
    """Clicks and conversions are related, not the same."""
    log = raw.interactions.frame
    both = np.corrcoef(np.log(log["truth:ctr"]), np.log(log["truth:cvr"]))[0, 1]
    assert 0.1 < both < 0.9


def test_the_default_log_stays_the_same_to_the_bit() -> None:
    """Figures in the benchmarks were measured on it: new options must not change what the old ones draw."""
    raw = draw(Size(3_000, users=300, items=50), seed=1)
    tables = (raw.interactions, raw.users, raw.items)
    text = "".join(table.frame.write_csv(float_precision=9) for table in tables if table is not None)
    assert hashlib.sha256(text.encode()).hexdigest() == DIGEST
    assert raw.source == "synthetic: 3000 rows, 300 users, 50 items, seed 1"


def test_the_source_tells_what_is_not_default() -> None:
    raw = draw(Size(100), 2, "flat", Effects(pairs=1.5, specific=1.0), "small")
    assert raw.source == (
        "synthetic: 100 rows, 20000 users, 5000 items, seed 2, flat by small fields, pairs 1.5, specific 1"
    )


def test_the_seed_decides(raw: Raw) -> None:
    again, other = draw(SIZE, seed=3), draw(SIZE, seed=4)
    assert again.interactions.frame.equals(raw.interactions.frame)
    assert not other.interactions.frame.equals(raw.interactions.frame)


@pytest.mark.parametrize(("rows", "items"), [(1, 1), (7, 3), (25, 10)])
def test_any_size_draws(rows: int, items: int) -> None:
    assert len(draw(Size(rows, users=2, items=items), seed=1).interactions) == rows


@pytest.mark.parametrize("shape", ["aliccp", "flat"])
def test_files_prepare_to_the_same_data_set(shape: Shape, tmp_path: Path) -> None:
    raw = draw(SIZE, 3, shape)
    write_tables(raw, tmp_path / "raw")
    write_prepared(raw, tmp_path / "memory")
    write_prepared(read_tables(tmp_path / "raw"), tmp_path / "files")
    written = sorted(path for path in (tmp_path / "memory").rglob("*") if path.is_file())
    same = [
        path.read_bytes() == (tmp_path / "files" / path.relative_to(tmp_path / "memory")).read_bytes()
        for path in written
    ]
    assert [path.name for path, ok in zip(written, same, strict=True) if not ok] == ["prepared.json"]  # another source
    truth = Prepared.open(tmp_path / "files").matrices("test").truth
    assert set(truth) == {"ctr", "cvr"}
    assert read_tables(tmp_path / "raw").schema == synthetic_schema(shape)
