"""The true logit: strengths, what the tasks share, rates."""

from dataclasses import replace

import numpy as np
import pytest

from training.datasets.synthetic.population import PAIRS, PairTables
from training.datasets.synthetic.spec import Effects, Floats, Ints, Spec
from training.datasets.synthetic.truth import Impressions, Truth, item_factors, tastes

ROWS, USERS, ITEMS = 40_000, 2_000, 400
SPEC = Spec(click_rate=0.2, conversion_rate=0.3, drift=0.0)
NONE = Effects(main=0, factors=0, pairs=0)
SIZES = {"left": 59, "right": 59, "hour": 23, "category": 12}
SQUARE: PairTables = dict.fromkeys(("both", "click", "conversion"), (("left", "right"),))


def log(position: int = 1, rho: float = 0.5) -> Impressions:
    random = np.random.default_rng(0)
    codes = {name: random.integers(0, ids + 1, ROWS) for name, ids in SIZES.items()}
    user, item = random.integers(0, USERS, ROWS), random.integers(0, ITEMS, ROWS)
    taste, factors = tastes(1, np.arange(USERS), rho)[user], item_factors(1, np.arange(ITEMS))[item]
    affinity = {name: (taste[:, place] * factors).sum(axis=1) for place, name in enumerate(("click", "conversion"))}
    numbers, day = {"price": random.normal(size=ROWS)}, np.sort(random.integers(0, SPEC.days, ROWS))
    return Impressions(codes, numbers, affinity, np.full(ROWS, position), day)


def drawn(effects: Effects, of: Impressions | None = None, spec: Spec = SPEC) -> tuple[Floats, Floats]:
    """Probabilities of a log that is its own pilot sample."""
    chosen = of or log(rho=effects.rho)
    return Truth(replace(spec, effects=effects), SIZES, SQUARE, chosen).probabilities(chosen)


def logits(effects: Effects, of: Impressions | None = None, spec: Spec = SPEC) -> tuple[Floats, Floats]:
    click, conversion = drawn(effects, of, spec)
    return np.log(click / (1 - click)), np.log(conversion / (1 - conversion))


def correlation(effects: Effects) -> float:
    return float(np.corrcoef(*logits(effects))[0, 1])


@pytest.mark.parametrize("term", ["main", "factors", "pairs"])
def test_a_strength_is_the_standard_deviation_of_its_term(term: str) -> None:
    for of_task in logits(replace(NONE, **{term: 1.3})):
        assert of_task.std() == pytest.approx(1.3, abs=1e-6)


def test_rates() -> None:
    click, conversion = drawn(Effects())
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
    half = np.arange(ROWS) < ROWS / 2
    places: Ints = np.where(half, 1, 10)
    told = logits(NONE, replace(log(), position=places))
    assert [float(of_task[0] - of_task[-1]) for of_task in told] == pytest.approx(
        [0.5 * np.log(10), 0.1 * np.log(10)], abs=1e-9
    )


def test_equal_tables_weigh_alike() -> None:
    """Of Ali-CCP's shape, 4 tables are shared and 3 a task's own."""
    random = np.random.default_rng(0)
    sizes = dict.fromkeys(sorted({name for pairs in PAIRS.values() for pair in pairs for name in pair}), 4)
    of = replace(log(), codes={name: random.integers(0, 5, ROWS) for name in sizes})
    specs = [replace(SPEC, effects=replace(NONE, pairs=1, specific=share)) for share in (None, 3 / 7)]
    found = [Truth(spec, sizes, PAIRS, of).probabilities(of)[0] for spec in specs]
    assert found[0] == pytest.approx(found[1], abs=1e-9)


def test_drift_is_a_walk_of_each_category_that_ends_at_its_strength() -> None:
    of = log()
    for of_task in logits(NONE, of, replace(SPEC, drift=0.7)):
        cells = {(c, d): of_task[(of.codes["category"] == c) & (of.day == d)] for c in range(13) for d in range(8)}
        assert max(np.ptp(values) for values in cells.values()) < 1e-9
        walks = np.array([[cells[c, d][0] for d in range(8)] for c in range(13)])
        assert np.ptp(walks[:, 0]) < 1e-9
        steps = np.diff(walks, axis=1) * np.sqrt(7) / 0.7
        assert steps.std() == pytest.approx(1, abs=0.25)  # 91 steps
        assert np.abs(np.corrcoef(steps[:, :-1].ravel(), steps[:, 1:].ravel())[0, 1]) < 0.3


def test_one_spec_stands_for_impressions_it_has_not_seen() -> None:
    """Scales and biases are the pilot's: a part of the log has the probabilities that it has in the whole."""
    of = log()
    truth = Truth(SPEC, SIZES, SQUARE, of)
    part = Impressions(
        {name: codes[:100] for name, codes in of.codes.items()},
        {name: values[:100] for name, values in of.numbers.items()},
        {name: values[:100] for name, values in of.affinity.items()},
        of.position[:100],
        of.day[:100],
    )
    for whole, few in zip(truth.probabilities(of), truth.probabilities(part), strict=True):
        assert whole[:100].tolist() == few.tolist()


def test_requests_broadcast_over_their_slates() -> None:
    """Codes [requests], [slate, requests] and positions [slate, 1] mean what they mean row by row."""
    flat, slate = log(), 4
    rows = {name: codes[: 50 * slate].reshape(slate, 50) for name, codes in flat.codes.items()}
    rows["left"] = rows["left"][:1].repeat(slate, axis=0)
    affinity = {name: values[: 50 * slate].reshape(slate, 50) for name, values in flat.affinity.items()}
    position, day = np.arange(1, slate + 1)[:, None], flat.day[:50]
    price = flat.numbers["price"][:50]
    shaped = Impressions(rows | {"left": rows["left"][0]}, {"price": price}, affinity, position, day)
    tiled = Impressions(
        {name: codes.ravel() for name, codes in rows.items()},
        {"price": np.tile(price, slate)},
        {name: values.ravel() for name, values in affinity.items()},
        position.repeat(50),
        np.tile(day, slate),
    )
    truth = Truth(replace(SPEC, drift=0.3), SIZES, SQUARE, flat)
    for one, other in zip(truth.probabilities(shaped), truth.probabilities(tiled), strict=True):
        assert one.shape == (slate, 50)
        assert one.ravel() == pytest.approx(other, abs=1e-12)
