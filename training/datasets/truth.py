"""True probabilities of a drawn log. For each task, the logit of an impression is

    b + m main + f <u_user, v_item> + p pairs - c log(position)

where `main` sums an effect of every field, the dot product is of latent factors, and `pairs` sums free tables over
pairs of fields: some shared by both tasks, some of one task alone. Each term is standardised, so that m, f and p are
the standard deviations that they give the logit; b is found by bisection, so that clicks, and conversions given clicks,
have the wanted rates. Main effects are each task's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.datasets.click_log import Floats, Ints, Size

FACTORS = 8  # latent width
POSITION_EFFECT = {"click": 0.5, "conversion": 0.1}

PairTables = Mapping[str, Sequence[tuple[str, str]]]  # by "both", "click" and "conversion": pairs of fields


@dataclass(frozen=True)
class Effects:
    """How strong each term is, and what the tasks share of it."""

    main: float = 0.5
    factors: float = 0.5
    pairs: float = 0.9
    rho: float = 0.5  # how far a user's taste in buying follows the taste in clicking
    specific: float | None = (
        None  # share of the variance of `pairs` that is of the task alone; None: tables weigh alike
    )


@dataclass(frozen=True)
class Impressions:
    """What the truth depends on, [rows] each: row numbers, codes (-1 where missing) and numbers by field."""

    user: Ints
    item: Ints
    codes: dict[str, Ints]
    numbers: dict[str, Floats]


def probabilities(
    rng: np.random.Generator, size: Size, effects: Effects, log: Impressions, tables: PairTables
) -> tuple[Floats, Floats]:
    """P(click) and P(conversion | click) of each impression."""
    shared = _pairs(rng, log.codes, tables["both"])
    items = rng.normal(size=(size.items, FACTORS))[log.item]
    taste = rng.normal(size=(size.users, FACTORS))
    rho = effects.rho
    taste_of = {"click": taste, "conversion": rho * taste + np.sqrt(1 - rho**2) * rng.normal(size=taste.shape)}
    wanted = {"click": size.click_rate, "conversion": size.conversion_rate}
    found: dict[str, Floats] = {}
    for task, rate in wanted.items():
        main = np.sum([_effect(rng, values) for name, values in log.codes.items() if name != "position"], axis=0)
        main += np.sum([rng.normal() * _standard(values) for values in log.numbers.values()], axis=0)
        factors = (taste_of[task][log.user] * items).sum(axis=1)
        together, alone = _weights(effects.specific, len(tables["both"]), len(tables[task]))
        pairs = together * shared + alone * _pairs(rng, log.codes, tables[task])
        logits = (
            effects.main * _standard(main) + effects.factors * _standard(factors) + effects.pairs * _standard(pairs)
        )
        logits -= POSITION_EFFECT[task] * np.log1p(log.codes["position"])
        found[task] = _with_rate(logits, rate, found.get("click", np.ones(size.rows)))
    return found["click"], found["conversion"]


def _effect(rng: np.random.Generator, codes: Ints) -> Floats:
    """A free effect of each value, 'missing' too."""
    table: Floats = rng.normal(size=codes.max() + 2)
    return table[codes + 1]


def _pairs(rng: np.random.Generator, codes: Mapping[str, Ints], fields: Sequence[tuple[str, str]]) -> Floats:
    """Sum over pairs of fields of a free effect of each pair of values."""
    total = np.zeros(len(codes["hour"]))
    for left, right in fields:
        table = rng.normal(size=(codes[left].max() + 2, codes[right].max() + 2))
        total += table[codes[left] + 1, codes[right] + 1]
    return total


def _weights(specific: float | None, shared: int, own: int) -> tuple[float, float]:
    """Weights of the sums of shared and of own tables that give the own ones this share of the variance."""
    return (1.0, 1.0) if specific is None else (((1 - specific) / shared) ** 0.5, (specific / own) ** 0.5)


def _standard(values: Floats) -> Floats:
    spread = float(values.std())
    return (values - float(values.mean())) / (spread if spread > 0 else 1.0)


def _with_rate(logits: Floats, rate: float, weights: Floats) -> Floats:
    """Probabilities whose weighted mean is `rate`, by bisection of the bias."""
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        mean = np.average(1 / (1 + np.exp(-(logits + middle))), weights=weights)
        low, high = (middle, high) if mean < rate else (low, middle)
    probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-(logits + low)))
    return probabilities
