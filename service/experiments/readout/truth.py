"""Does the readout keep its promises? `python -m service readout truth --runs 1000 --out FOLDER`.

Simulates experiments whose truth is known and reads them out by the functions of the product: false positives with and
without peeks, coverage of the intervals, power against theory, sample-ratio alarms. Prints a table; writes truth.json,
truth.svg and truth.png.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from pydantic import BaseModel

from contract.errors import ConfigError
from contract.files import write_text
from service.experiments.readout.simulation import Plan, Run, alarms, power, runs

EFFECTS = (0.05, 0.1, 0.15, 0.2)
LOST = 0.01  # share of an arm's users
USERS = (200_000, 500_000, 1_000_000)  # of the sample-ratio check
_SRM_RUNS = 10  # times the runs: they are cheap, and alarms without cause are rare


class Effect(BaseModel):
    """Runs of one true lift; shares of them."""

    lift: float
    found_fixed: float  # at the only look
    found_always: float  # at any look, peek-safe
    theory: float  # power of one look
    covered_fixed: float  # at the only look
    covered_always: float  # at all looks at once
    reduction: float  # mean share of variance that CUPED took away


class SampleRatioAlarms(BaseModel):
    """Alarms at so many users; shares of the runs."""

    users: int
    without: float  # nothing is lost
    lost: float  # an arm loses LOST of its users


class Truth(BaseModel):
    """All results. Shares of A/A runs that were ever significant are lists by look."""

    runs: int
    seed: int
    users: int
    looks: int
    alpha: float
    fixed_one_look: float
    impressions_one_look: float
    fixed: list[float]
    always: list[float]
    impressions: list[float]
    effects: list[Effect]  # the first is none
    sample_ratio: list[SampleRatioAlarms]


def main(argv: list[str]) -> int:
    """Run, print, write."""
    asked = _arguments(argv)
    save = _plot()  # before the minutes of work, as the folder
    try:
        asked.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {asked.out}: {(error.strerror or str(error)).lower()}") from None
    started = time.perf_counter()
    truth = simulate(asked.runs, asked.seed, lambda line: print(line, file=sys.stderr, flush=True))
    write_text(asked.out / "truth.json", truth.model_dump_json(indent=1) + "\n")
    save(truth, asked.out)
    print("\n".join(table(truth)))
    print(f"{time.perf_counter() - started:.0f} s; truth.json, truth.svg and truth.png are in {asked.out}")
    return 0


def simulate(count: int, seed: int, tell: Callable[[str], None], plan: Plan | None = None) -> Truth:
    """All scenarios, `count` runs each."""
    plan = plan or Plan()
    tell(f"{count} A/A experiments of {plan.users} users, {plan.looks} looks each …")
    null = list(runs(0.0, plan, count, seed))
    effects = [_effect(0.0, null, plan, seed)]
    for lift in EFFECTS:
        tell(f"{count} experiments with a lift of {lift:.0%} …")
        effects.append(_effect(lift, list(runs(lift, plan, count, seed)), plan, seed))
    tell(f"{_SRM_RUNS * count} sample-ratio checks …")
    return Truth(
        runs=count,
        seed=seed,
        users=plan.users,
        looks=plan.looks,
        alpha=plan.measure.alpha,
        fixed_one_look=_share([run.fixed[-1] for run in null]),
        impressions_one_look=_share([run.impressions[-1] for run in null]),
        fixed=_ever([run.fixed for run in null]),
        always=_ever([run.always for run in null]),
        impressions=_ever([run.impressions for run in null]),
        effects=effects,
        sample_ratio=[_sample_ratio(users, _SRM_RUNS * count, seed) for users in USERS],
    )


def table(truth: Truth) -> Iterator[str]:
    """The results as text."""
    yield f"{truth.runs} runs each, {truth.users} users, seed {truth.seed}; ± is the 95 % noise of the simulation"
    yield f"A/A: significant at {truth.alpha:.0%}"
    for name, share in (
        ("impression-level z-test, 1 look", truth.impressions_one_look),
        (f"impression-level z-test, {truth.looks} looks", truth.impressions[-1]),
        ("fixed horizon, 1 look", truth.fixed_one_look),
        (f"fixed horizon, {truth.looks} looks", truth.fixed[-1]),
        (f"peek-safe, {truth.looks} looks", truth.always[-1]),
    ):
        yield f"  {name:38} {_with_noise(share, truth.runs)}"
    yield "lift   covers: 1 look   all looks at once   power: 1 look (theory)   peek-safe, any look   CUPED"
    for each in truth.effects:
        fixed, always = _with_noise(each.covered_fixed, truth.runs), _with_noise(each.covered_always, truth.runs)
        found = f"{each.found_fixed:.1%} ({each.theory:.1%})"
        row = f"{each.lift:4.0%}   {fixed:>14}   {always:>17}   {found:>22}   {each.found_always:>19.1%}"
        yield f"{row}   −{each.reduction:.1%}"
    yield f"sample-ratio alarms at p < 0.001: nothing lost, and an arm that loses {LOST:.0%} of its users"
    for alarm in truth.sample_ratio:
        yield f"  {alarm.users:>9,} users   {alarm.without:.2%}   {alarm.lost:.1%}"


def noise(share: float, count: int) -> float:
    """Half the 95 % interval of a simulated share."""
    return 1.96 * math.sqrt(share * (1 - share) / count)


def _with_noise(share: float, count: int) -> str:
    return f"{share:.1%} ± {noise(share, count):.1%}"


def _effect(lift: float, found: Sequence[Run], plan: Plan, seed: int) -> Effect:
    return Effect(
        lift=lift,
        found_fixed=_share([run.fixed[-1] for run in found]),
        found_always=_share([any(run.always) for run in found]),
        theory=power(lift, plan, seed),
        covered_fixed=_share([run.fixed_covers for run in found]),
        covered_always=_share([run.always_covers for run in found]),
        reduction=sum(run.reduction for run in found) / len(found),
    )


def _sample_ratio(users: int, count: int, seed: int) -> SampleRatioAlarms:
    return SampleRatioAlarms(
        users=users, without=alarms(0.0, users, count, seed), lost=alarms(LOST, users, count, seed)
    )


def _share(found: Sequence[bool]) -> float:
    return sum(found) / len(found)


def _ever(found: Sequence[Sequence[bool]]) -> list[float]:
    """Share of runs that were significant at this look or before, by look."""
    ever = [list(accumulate(run, max)) for run in found]
    return [_share(at_look) for at_look in zip(*ever, strict=True)]


def _plot() -> Callable[[Truth, Path], None]:
    try:
        from service.experiments.readout.truth_plot import save
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        raise ConfigError("the plot needs matplotlib: pip install -e '.[benchmark]'") from None
    return save


def _arguments(argv: list[str]) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m service readout truth", description=__doc__, formatter_class=form)
    parser.add_argument("--runs", type=_count, default=1000, metavar="N", help="experiments a scenario; default 1000")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for the results")
    parser.add_argument("--seed", type=int, default=20261201)
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"{text}: must be 1 or more")
    return int(text)
