"""Open Bandit: real rows, what must stay out of the inputs, and real slates that fit the prepared data."""

import os
from pathlib import Path

import pytest

from contract.errors import DataError
from contract.schema import Side
from training.datasets.open_bandit import Slate, read_open_bandit, slates
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import KEY, Prepared
from training.datasets.raw import HeldRaw

RAW = Path(os.environ.get("TWINSCORE_DATA", "../shared/data")) / "open-bandit"
needs_data = pytest.mark.skipif(not RAW.is_dir(), reason=f"{RAW} is absent; set TWINSCORE_DATA")


@pytest.fixture(scope="module")
def raw() -> HeldRaw:
    return read_open_bandit(RAW)


@pytest.fixture(scope="module")
def requests() -> list[Slate]:
    return list(slates(RAW))


@needs_data
def test_rows_and_clicks_are_those_of_the_files(raw: HeldRaw) -> None:
    assert len(raw.interactions) == 40_000
    assert raw.interactions.frame["click"].to_list().count("1") == 207
    assert raw.interactions.frame["affinity"].null_count() == 0
    assert raw.items is not None
    assert len(raw.items) == 34 + 46


@needs_data
def test_the_logging_policy_is_no_input(raw: HeldRaw) -> None:
    inputs = {field.source for field in raw.schema.fields}
    assert not inputs & {"policy", "propensity_score", "click", "timestamp"}
    assert {"campaign", "hour", "position", "affinity", "user_id", "item_id"} < inputs


@needs_data
def test_it_prepares_by_time_with_every_item_known(raw: HeldRaw, tmp_path: Path) -> None:
    write_prepared(raw, tmp_path / "out")
    prepared = Prepared.open(tmp_path / "out")
    assert prepared.description.rows == {"train": 32_000, "validation": 4_000, "test": 4_000}
    assert (prepared.table(Side.ITEM).collect()["item_feature_2"] > 0).all()
    assert set(prepared.table(Side.ITEM).collect()[KEY]) == {f"men:{i}" for i in range(34)} | {
        f"women:{i}" for i in range(46)
    }


@needs_data
def test_slates_say_what_the_rows_say(raw: HeldRaw, requests: list[Slate]) -> None:
    shown = [item for slate in requests for item in slate.shown]
    assert len(shown) == 40_000
    assert sum(item.click or 0 for item in shown) == 207
    rows = raw.interactions.frame.select("user_id", "item_id", "position", "hour").rows()
    assert sorted(rows) == sorted(
        (slate.user_id, item.id, item.features["position"], slate.context["hour"])
        for slate in requests
        for item in slate.shown
    )
    assert sum(len(slate.shown) > 1 for slate in requests) == 17
    affinities = raw.interactions.frame["affinity"].to_numpy().astype(float).sum()
    assert sum(float(item.features["affinity"]) for item in shown) == pytest.approx(affinities)


@needs_data
def test_candidates_are_the_whole_campaign(requests: list[Slate]) -> None:
    for slate in requests[:: len(requests) // 50]:
        campaign = slate.context["campaign"]
        assert len(slate.candidates) == {"men": 34, "women": 46}[campaign]
        assert all(item.id.startswith(f"{campaign}:") for item in slate.candidates)
        assert all(item in slate.candidates for item in slate.shown)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"men.csv.gz: no such file"):
        read_open_bandit(tmp_path)
