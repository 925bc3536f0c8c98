"""Tune models with one small budget, run each with several seeds, compare them on the same test rows.

Results are kept in OUT as they come: after Ctrl-C, a kill or --max-seconds the same command goes on where it stopped.
More models, variants and seeds may join later. The report is OUT/report.html and OUT/report.md.
"""

import argparse
from pathlib import Path

from rich.console import Console

from contract.errors import ConfigError
from training.benchmark import search
from training.benchmark.options import add_entries, count, names, positive
from training.benchmark.plan import Entry, entries, keep_to, plan_of
from training.benchmark.report import write_report
from training.benchmark.runs import Arena
from training.benchmark.study import Study
from training.datasets.prepared import Prepared
from training.device import choose_device


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `benchmark` command."""
    parser = subparsers.add_parser(
        "benchmark", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results and report")
    add_entries(parser)
    parser.add_argument("--seeds", type=positive, default=5, metavar="N", help="seeds 0 to N - 1 (default: 5)")
    parser.add_argument(
        "--trials",
        type=count,
        default=0,
        metavar="K",
        help="of tuning, for each model (default: 0, recipes as they are)",
    )
    parser.add_argument(
        "--baseline", default="ple", metavar="NAME", help="what others are compared with (default: ple)"
    )
    parser.add_argument("--max-seconds", type=float, metavar="S", help="start nothing more after this; 0: only report")
    parser.add_argument("--retry", action="store_true", help="do again what failed")
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    chosen = entries(names(args.models), args.variant, args.set)
    if args.baseline not in [entry.name for entry in chosen]:
        raise ConfigError(f"--baseline {args.baseline}: is not among {', '.join(entry.name for entry in chosen)}")
    console, data, device = Console(), Prepared.open(args.data), choose_device(args.device)
    keep_to(args.out, plan_of(data, chosen, {entry.model: _search(entry, args.trials) for entry in chosen}))
    study = Study(Arena.load(data, device), args.out, console, args.max_seconds, args.retry)
    finished = study.go(chosen, args.trials, args.seeds)
    write_report(study, chosen, args.baseline, args.seeds)
    console.print(f"{'wrote' if finished else 'out of time; so far in'} {args.out / 'report.html'}", soft_wrap=True)
    return 0


def _search(entry: Entry, trials: int) -> dict[str, object]:
    """What the plan keeps of tuning."""
    return {"trials": trials, **(search.space(entry.model, entry.fixed) if trials else {})}
