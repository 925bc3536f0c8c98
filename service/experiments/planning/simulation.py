"""The split drawn over a file of users: how even it is, whether experiments are independent, and what it can find.

Everything is drawn as if all experiments ran, for everybody: conditions, times, kills and overrides are left out.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigError
from service.experiments.assignment import NO_CONTEXT, Assignment, LayerRoute
from service.experiments.change.difference import bare
from service.experiments.config import Experiment, Experiments
from service.experiments.planning.overview import expected

ALARM = 0.001  # p of a split that is off
_CELL = 5  # users expected in a cell, at least, for the chi-square to hold
_TOLD = 100_000  # users between two reports of progress


@dataclass(frozen=True, slots=True)
class Balance:
    """One experiment: users by arm against its weights; `p_value` is None where there are too few."""

    experiment: Experiment
    users: dict[str, int]
    p_value: float | None

    @property
    def total(self) -> int:
        """Users in the experiment."""
        return sum(self.users.values())


@dataclass(frozen=True, slots=True)
class Independence:
    """Two experiments of different layers: whether the arm of one tells that of the other."""

    one: str
    other: str
    p_value: float | None


@dataclass(frozen=True, slots=True)
class Split:
    """What was drawn. `codes` is [layers, users]: 0 outside, else 1 + the place in `arms` of that layer.

    `held` [users] are those of the holdout, who are outside everywhere.
    """

    config: Experiments
    arms: list[list[tuple[str, str]]]  # of each layer: experiment and arm
    codes: NDArray[np.uint16]
    held: NDArray[np.bool_]


def split(config: Experiments, users: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> Split:
    """Draw every user; `progress` is told how many are done."""
    assignment = Assignment(bare(config))
    arms = [[(each.key, arm.name) for each in layer.experiments for arm in each.arms] for layer in config.layers]
    codes, held = np.zeros((len(arms), len(users)), np.uint16), np.zeros(len(users), np.bool_)
    for start in range(0, len(users), _TOLD):
        some = users[start : start + _TOLD]
        here = slice(start, start + len(some))
        for i, layer in enumerate(assignment.layers):
            codes[i, here] = _codes(layer, some)
        if assignment.holdout is not None:
            held[here] = [assignment.held[assignment.holdout.bucket(user)] for user in some]
        progress(start + len(some))
    codes[:, held] = 0
    return Split(config, arms, codes, held)


def _codes(layer: LayerRoute, users: Sequence[str]) -> NDArray[np.uint16]:
    """What `Assignment.decide` asks each layer, without joining the answers: half the time."""
    variants = [variant for route in layer.routes for variant in route.variants.values()]
    code = {id(None): 0} | {id(variant): i for i, variant in enumerate(variants, 1)}
    decide = layer.decide
    return np.fromiter((code[id(decide(user, NO_CONTEXT).variant)] for user in users), np.uint16, len(users))


def balances(drawn: Split) -> list[Balance]:
    """Of every experiment, in the order of the configuration."""
    found = []
    for layer, pairs, codes in zip(drawn.config.layers, drawn.arms, drawn.codes, strict=True):
        counts = np.bincount(codes, minlength=len(pairs) + 1)[1:]
        by_arm = dict(zip(pairs, map(int, counts), strict=True))
        for experiment in layer.experiments:
            users = {arm.name: by_arm[experiment.key, arm.name] for arm in experiment.arms}
            found.append(Balance(experiment, users, _balance(users, expected(experiment))))
    return found


def independence(drawn: Split) -> list[Independence]:
    """Of every pair of experiments in different layers; those who are in neither count too, unless held out."""
    found, codes = [], drawn.codes[:, ~drawn.held]
    for i, j in combinations(range(len(drawn.arms)), 2):
        wide = len(drawn.arms[j]) + 1
        joint = codes[i].astype(np.int64) * wide + codes[j]
        table = np.bincount(joint, minlength=(len(drawn.arms[i]) + 1) * wide).reshape(-1, wide)  # [arms, arms]
        for (one, rows), (other, columns) in _pairs(drawn, i, j):
            found.append(Independence(one, other, _contingency(_folded(_folded(table, rows).T, columns))))
    return found


def _pairs(drawn: Split, i: int, j: int) -> Iterator[tuple[tuple[str, list[int]], tuple[str, list[int]]]]:
    """Each experiment of one layer with each of the other, and the codes of their arms."""
    codes = [
        {each.key: [c for c, pair in enumerate(drawn.arms[k], 1) if pair[0] == each.key] for each in layer.experiments}
        for k, layer in ((i, drawn.config.layers[i]), (j, drawn.config.layers[j]))
    ]
    return ((one, other) for one in codes[0].items() for other in codes[1].items())


def _folded(table: NDArray[np.int64], own: list[int]) -> NDArray[np.int64]:
    """Rows of an experiment's arms, and one of all others."""
    inside = table[own]
    return np.vstack([inside, table.sum(axis=0) - inside.sum(axis=0)])


def _balance(users: dict[str, int], shares: dict[str, float]) -> float | None:
    total = sum(users.values())
    names = [name for name, share in shares.items() if share]
    wanted = [total * shares[name] for name in names]
    if len(names) < 2 or min(wanted) < _CELL:
        return None
    return float(_scipy_stats().chisquare([users[name] for name in names], wanted).pvalue)


def _contingency(table: NDArray[np.int64]) -> float | None:
    table = table[table.sum(axis=1) > 0][:, table.sum(axis=0) > 0]
    if min(table.shape) < 2 or np.outer(table.sum(axis=1), table.sum(axis=0)).min() / table.sum() < _CELL:
        return None
    return float(_scipy_stats().chi2_contingency(table, correction=False).pvalue)


def _scipy_stats() -> Any:
    """Only here: the service does without."""
    try:
        from scipy import stats
    except ImportError:
        raise ConfigError("the chi-square of a simulation needs scipy: pip install 'twinscore[experiments]'") from None
    return stats
