"""The true logit: strengths, what the tasks share, rates."""

from dataclasses import replace

import numpy as np
import pytest

from training.datasets.click_log import PAIRS, Floats, Size
from training.datasets.truth import Effects, Impressions, PairTables, probabilities

SIZE = Size(40_000, users=2_000, items=400, click_rate=0.2, conversion_rate=0.3)
NONE = Effects(main=0, factors=0, pairs=0)
SQUARE: PairTables = dict.fromkeys(("both", "click", "conversion"), (("left", "right"),))


def log(position: int = 0) -> Impressions:
    random = np.random.default_rng(0)
    codes = {name: random.integers(0, ids, SIZE.rows) for name, ids in (("left", 60), ("right", 60), ("hour", 24))}
    codes["position"] = np.full(SIZE.rows, position)
    user, item = random.integers(0, SIZE.users, SIZE.rows), random.integers(0, SIZE.items, SIZE.rows)
    return Impressions(user, item, codes, {"price": random.normal(size=SIZE.rows)})


def logits(effects: Effects, of: Impressions | None = None) -> tuple[Floats, Floats]:
    click, conversion = probabilities(np.random.default_rng(1), SIZE, effects, of or log(), SQUARE)
    return np.log(click / (1 - click)), np.log(conversion / (1 - conversion))


def correlation(effects: Effects) -> float:
    return float(np.corrcoef(*logits(effects))[0, 1])


@pytest.mark.parametrize("term", ["main", "factors", "pairs"])
def test_a_strength_is_the_standard_deviation_of_its_term(term: str) -> None:
    for of_task in logits(replace(NONE, **{term: 1.3})):
        assert of_task.std() == pytest.approx(1.3, abs=1e-6)


def test_rates() -> None:
    click, conversion = probabilities(np.random.default_rng(1), SIZE, Effects(), log(), SQUARE)
    assert click.mean() == pytest.approx(0.2, abs=1e-6)
    assert np.average(conversion, weights=click) == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize(("specific", "expected"), [(0.0, 1.0), (0.25, 0.75), (0.5, 0.5), (1.0, 0.0), (None, 0.5)])
def test_specific_is_the_share_of_the_variance_that_tasks_do_not_share(specific: float | None, expected: float) -> None:
    exact = 1e-9 if specific == 0 else 0.05  # 3,600 free cells
    assert correlation(replace(NONE, pairs=1.0, specific=specific)) == pytest.approx(expected, abs=exact)


@pytest.mark.parametrize(("rho", "expected"), [(1.0, 1.0), (-1.0, -1.0), (0.5, 0.5), (0.0, 0.0)])
def test_rho_is_the_correlation_of_tastes(rho: float, expected: float) -> None:
    assert correlation(replace(NONE, factors=1.0, rho=rho)) == pytest.approx(expected, abs=0.05)


def test_pairs_are_no_sum_of_main_effects() -> None:
    of, (click, _) = log(), logits(replace(NONE, pairs=1.0))
    left, right = (np.eye(60)[of.codes[name]] for name in ("left", "right"))
    design = np.hstack([left, right])
    explained = design @ np.linalg.lstsq(design, click, rcond=None)[0]
    assert explained.var() / click.var() < 0.06  # 119 of 3,600 cells' freedom, where it would be 1


def test_positions_below_are_seen_less() -> None:
    first, tenth = log(), log(position=9)
    codes = {name: np.concatenate([first.codes[name], tenth.codes[name]]) for name in first.codes}
    both = Impressions(np.tile(first.user, 2), np.tile(first.item, 2), codes, {})
    size = replace(SIZE, rows=2 * SIZE.rows)
    click, conversion = probabilities(np.random.default_rng(1), size, NONE, both, SQUARE)
    odds = [p / (1 - p) for p in (click, conversion)]
    assert [float(np.log(o[0] / o[-1])) for o in odds] == pytest.approx([0.5 * np.log(10), 0.1 * np.log(10)], abs=1e-9)


def test_equal_tables_weigh_alike() -> None:
    """Of Ali-CCP's shape, 4 tables are shared and 3 a task's own."""
    random = np.random.default_rng(0)
    names = {name for pairs in PAIRS.values() for pair in pairs for name in pair}
    codes = {name: random.integers(0, 5, SIZE.rows) for name in (*sorted(names - {"hour"}), "hour", "position")}
    of = replace(log(), codes=codes)
    found = [
        probabilities(np.random.default_rng(1), SIZE, replace(NONE, pairs=1, specific=share), of, PAIRS)[0]
        for share in (None, 3 / 7)
    ]
    assert found[0] == pytest.approx(found[1], abs=1e-9)
