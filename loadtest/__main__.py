"""`python -m loadtest --users 8 --run-time 30s --p99 100`: load a running service, and fail past thresholds.

--shape says how the load runs over time (loadtest/shapes.py). Writes report.html, CSV and result.json, which
`python -m loadtest.compare` can hold a later run against.

Exit status: 0 good, 1 past a threshold, 2 nothing to load (service, Redis, bundles), 130 after Ctrl-C.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import locust  # noqa: F401  # first: it replaces the sockets that others import

from contract.command import run as run_command
from contract.errors import ConfigError
from loadtest import shapes
from loadtest.catalogue import Catalogue, read_catalogue
from loadtest.headless import Run, run
from loadtest.payloads import Payloads
from loadtest.result import Result, result_of, workload_of
from loadtest.service_calls import check_ready
from loadtest.shapes import Plan
from loadtest.thresholds import Thresholds
from loadtest.users import ScoringUser
from loadtest.workload import add_arguments, bundles_folder, workload

_RUN_TIMES = {"soak": "10m", "steps": "1h"}  # steps end by themselves


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    add = made.add_argument
    add("--host", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    add("--users", type=int, default=8, help="requests in flight at a time; open: sources (default: %(default)s)")
    add("--run-time", help="30s, 5m, 1h30m (default: 30s; soak: 10m; steps: until saturated)")
    add("--rounds", type=int, default=10, help="parts of the run in result.json (default: %(default)s)")
    add("--p99", type=float, metavar="MS", help="fail where the 99th percentile is slower")
    add("--errors", type=float, metavar="RATE", default=0.01, help="fail where more go wrong (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", default=Path(".run/loadtest"), help="for the report (default: %(default)s)")
    shapes.add_arguments(made)
    add_arguments(made)
    return made


def load(args: argparse.Namespace, check: Callable[[dict[str, Any]], None] | None = None) -> tuple[Run, Result]:
    """Check the set-up, run, write the report and show it; `check` sees the workload before it runs."""
    args.run_time = args.run_time or _RUN_TIMES.get(args.shape, "30s")
    plan, drawn = shapes.plan(args, args.users, shapes.parse_seconds("run_time", args.run_time)), workload(args)
    if not 1 <= args.rounds <= 100:
        raise ConfigError(f"--rounds {args.rounds}: must be between 1 and 100")
    try:
        args.out.mkdir(parents=True, exist_ok=True)  # now, not when the run is over and its report would be lost
    except OSError as error:
        raise ConfigError(f"--out {args.out}: {error.strerror}") from None
    check_ready(args.host)
    catalogue = read_catalogue(bundles_folder(args), args.redis, args.prefix, args.ids)
    asked = workload_of(args, catalogue)
    if check is not None:
        check(asked)
    ScoringUser.payloads = Payloads(catalogue, drawn)
    _announce(args, plan, catalogue, drawn.candidates.largest)
    finished = run(args.host, plan, Thresholds(args.p99, args.errors))
    finished.write(args.out)
    print("\n".join([*finished.lines(), f"report: {args.out / 'report.html'}"]), flush=True)
    if finished.interrupted:  # half a run is no result
        raise KeyboardInterrupt
    result = result_of(finished, asked)
    result.write(args.out / "result.json")
    return finished, result


def judge(broken: list[str]) -> int:
    """Show what fails a run; the exit status."""
    for line in broken:
        print(f"error: {line}", file=sys.stderr)
    return 1 if broken else 0


def _announce(args: argparse.Namespace, plan: Plan, catalogue: Catalogue, largest: int) -> None:
    users, items = len(catalogue.users), len(catalogue.items)
    load = f"{plan.rate:g} requests/s" if plan.rate else f"{plan.users} users"
    print(f"{args.host}: {plan.shape}, {load}, {users:,} user and {items:,} item ids", flush=True)
    if not users or not items:
        print(f"no {'users' if not users else 'items'} are stored: ids are made up", flush=True)
    if 0 < items < largest:
        print(f"larger requests are cut to {items} candidates: no more items exist", flush=True)


def main() -> int:
    """One run."""
    finished, _ = load(parser().parse_args())
    return judge(finished.broken())


if __name__ == "__main__":
    sys.exit(run_command(main))
