"""Open Bandit's two policies, replayed: what each earned, and what trained models would have.

Click rates of the two logging policies stand beside off-policy estimates of models that choose the item at each logged
position, from the logged propensities. Models are judged on rounds later than all that `train` saw of the prepared
data, unless --rows all. An interval is the wider of the normal one and Wilson's for the effective sample size
(Kish): where hardly a logged choice agrees with the model's, it says so by its width.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from contract.errors import ConfigError
from contract.files import write_text
from training.datasets.prepared import Prepared
from training.replay.estimators import Estimate, Rounds, difference, doubly_robust, ips, snips
from training.replay.log import Log, read_logs
from training.replay.policy import click_probabilities, greedy, softmax


@dataclass(frozen=True)
class Line:
    """One estimate: of which policy, from which log, how."""

    log: str
    policy: str
    estimator: str
    rounds: int
    clicks: int
    estimate: Estimate


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `replay` command."""
    parser = subparsers.add_parser("replay", description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, metavar="DIR", help="the Open Bandit Dataset's folder")
    parser.add_argument("--data", type=Path, metavar="DIR", help="what `prepare open_bandit` made of it")
    parser.add_argument("--run", type=Path, action="append", default=[], metavar="RUN", help="what `train` wrote")
    parser.add_argument("--temperature", type=float, default=0.5, help="of the sampling policy; default: 0.5")
    parser.add_argument("--rows", choices=("later", "all"), default="later", help="default: later than training's")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the figures here, as JSON")
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    if args.run and args.data is None:
        raise ConfigError("--run: also give --data, the prepared data set that the models were trained on")
    if not args.temperature > 0:
        raise ConfigError(f"--temperature {args.temperature:g}: must be above 0")
    logs = read_logs(args.raw)
    lines = list(_logged([log for log, _ in logs]))
    chosen = [log.at(later) if args.rows == "later" else log for log, later in logs]
    data = Prepared.open(args.data) if args.run else None
    for log in chosen if data else []:
        assert data is not None
        for run in args.run:
            lines += evaluate(log, click_probabilities(run, data, log), run.name, args.temperature)
    _print(lines)
    if args.out is not None:
        write_text(args.out, json.dumps([asdict(line) for line in lines], indent=1) + "\n")
    return 0


def evaluate(log: Log, ctr: NDArray[np.float64], name: str, temperature: float) -> list[Line]:
    """Estimates of the policies that a model's ctr [n, K] makes, and of uniform choice beside them."""
    policies = {
        f"{name}, greedy": greedy(ctr),
        f"{name}, sampled": softmax(ctr, temperature),
        "uniform": np.full_like(ctr, 1 / ctr.shape[1]),
    }
    shown = np.arange(len(ctr)), log.shown
    found = []
    for policy, chances in policies.items():
        rounds, evaluated = log.rounds, chances[shown]
        made = {
            "IPS": ips(rounds, evaluated),
            "SNIPS": snips(rounds, evaluated),
            "DR": doubly_robust(rounds, evaluated, ctr[shown], (chances * ctr).sum(axis=1)),
        }
        where, clicks = f"{log.policy}/{log.campaign}", int(rounds.reward.sum())
        found += [Line(where, policy, kind, len(ctr), clicks, estimate) for kind, estimate in made.items()]
    return found


def _logged(logs: list[Log]) -> Iterator[Line]:
    """What each logging policy earned itself, and by how much bts was better than random."""
    own = {(log.policy, log.campaign): _own(log.rounds) for log in logs}
    for log in logs:
        where, clicks = f"{log.policy}/{log.campaign}", int(log.rounds.reward.sum())
        yield Line(where, log.policy, "as logged", len(log.rows), clicks, own[log.policy, log.campaign])
    for campaign in dict.fromkeys(log.campaign for log in logs):
        both = [log for log in logs if log.campaign == campaign]
        rounds, clicks = sum(len(log.rows) for log in both), int(sum(log.rounds.reward.sum() for log in both))
        gain = difference(own["bts", campaign], own["random", campaign])
        yield Line(f"both/{campaign}", "bts - random", "as logged", rounds, clicks, gain)


def _own(rounds: Rounds) -> Estimate:
    return ips(rounds, rounds.propensity)  # all weights are 1


def _print(lines: list[Line]) -> None:
    console = Console()
    for log, group in groupby(lines, lambda line: line.log):
        own = list(group)
        table = Table(title=f"{log}: {own[0].rounds:,} rounds, {own[0].clicks} clicks; percent, with 95 % intervals")
        for name in ("policy", "estimator"):
            table.add_column(name, no_wrap=True)
        for name in ("value", "interval", "effective", "largest w"):
            table.add_column(name, justify="right", no_wrap=True)
        for line in own:
            e = line.estimate
            interval = f"{100 * e.low:.3f} to {100 * e.high:.3f}"
            sizes = f"{e.effective:,.0f}", f"{e.largest:,.1f}"
            table.add_row(line.policy, line.estimator, f"{100 * e.value:.3f}", interval, *sizes)
        console.print(table)
