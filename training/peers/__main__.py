"""Train other libraries' PLE and MMoE on a prepared data set: test AUC and rows/s side by side.

Same split, sizes and budget as Twinscore's; each library with its own model, loader and trainer, in an environment of
its own, made on first use. Ctrl-C keeps the rows that are done.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from rich.console import Console

from contract.command import run as run_command
from contract.errors import ConfigError
from contract.files import whole_file, write_text
from training.datasets.prepared import Prepared
from training.peers.environments import LIBRARIES, is_ready
from training.peers.exchange import exchange
from training.peers.runs import SIZES, Budget, Outcome, run
from training.peers.table import outcome_line, outcomes_table


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments of the command; ConfigError for a name that is not known."""
    parser = argparse.ArgumentParser(
        prog="python -m training.peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    budget = Budget()
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    parser.add_argument("--libraries", default=",".join(LIBRARIES), metavar="NAMES", help="default: %(default)s")
    parser.add_argument("--models", default=",".join(SIZES), metavar="NAMES", help="default: %(default)s")
    parser.add_argument("--seeds", type=_positive, default=1, metavar="N", help="runs, seeds 0 to N - 1 (default: 1)")
    parser.add_argument("--batch-size", default=None, metavar="N,…", help="default: 256; 1024,4096 for throughput")
    parser.add_argument("--epochs", type=_positive, default=budget.epochs, help="default: %(default)s")
    parser.add_argument("--patience", type=_positive, default=budget.patience, help="default: %(default)s validations")
    parser.add_argument("--throughput", action="store_true", help="rows/s alone: a few steps, no evaluation")
    parser.add_argument("--steps", type=_positive, default=60, help="with --throughput (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=0, help="of data loaders that can have any (default: 0)")
    parser.add_argument("--fuxictr-zoo", type=Path, metavar="DIR", help="model_zoo/multitask of FuxiCTR's repository")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="rows as JSON; test predictions in FILE.npz")
    args = parser.parse_args(arguments)
    args.libraries = _names(args.libraries, LIBRARIES, "--libraries")
    args.models = _names(args.models, tuple(SIZES), "--models")
    args.batch_sizes = _numbers(args.batch_size or ("1024,4096" if args.throughput else "256"))
    if args.workers < 0:
        raise ConfigError(f"--workers {args.workers}: give 0 or more")
    if args.fuxictr_zoo and not (args.fuxictr_zoo / "PLE" / "src").is_dir():
        raise ConfigError(f"--fuxictr-zoo {args.fuxictr_zoo}: no PLE/src in it; give the folder model_zoo/multitask")
    return args


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; 1 where a run failed."""
    args, console = parse(arguments), Console()
    outcomes: list[Outcome] = []
    try:
        for outcome in _outcomes(args, console):
            outcomes.append(outcome)
            console.print(outcome_line(outcome), soft_wrap=True, markup=False)
            _save(args.out, args, outcomes)
    finally:
        if outcomes:
            console.print(outcomes_table(outcomes))
    return 1 if any(outcome.error for outcome in outcomes) else 0


def _outcomes(args: argparse.Namespace, console: Console) -> Iterator[Outcome]:
    data = exchange(Prepared.open(args.data))
    budget = Budget(args.epochs, patience=args.patience, workers=args.workers)
    if args.throughput:
        budget = Budget(epochs=1, parts=min(6, args.steps), patience=1, steps=args.steps, workers=args.workers)
    for library, model, batch_size, seed in product(args.libraries, args.models, args.batch_sizes, range(args.seeds)):
        making = "" if is_ready(library) else ", first making its environment"
        with console.status(f"{library} {model}, batch {batch_size}, seed {seed}{making} …"):
            yield run(library, model, batch_size, seed, budget, data, args.fuxictr_zoo)


def _save(out: Path | None, args: argparse.Namespace, outcomes: list[Outcome]) -> None:
    """Write all rows so far, and their predictions as `<library>/<model>/<batch>/<seed>`: [n, tasks]."""
    if out is None:
        return
    asked = {name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()}
    content = {"arguments": asked, "rows": [outcome.described() for outcome in outcomes]}
    write_text(out, json.dumps(content, indent=1) + "\n")
    predictions = {
        f"{o.library}/{o.model}/{o.batch_size}/{o.seed}": o.predictions for o in outcomes if o.predictions is not None
    }
    with whole_file(out.with_suffix(".npz")) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **predictions)  # type: ignore[arg-type]  # its stub wants a bool among the arrays


def _names(given: str, known: tuple[str, ...], option: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in given.split(",") if name.strip())
    if unknown := [name for name in names if name not in known]:
        raise ConfigError(f"{option}: '{unknown[0]}' is not one of {', '.join(known)}")
    if not names:
        raise ConfigError(f"{option}: give one or more of {', '.join(known)}")
    return names


def _numbers(given: str) -> tuple[int, ...]:
    if any(not part.strip().isdigit() or int(part) == 0 for part in given.split(",")):
        raise ConfigError(f"--batch-size {given}: give whole numbers above 0, separated by commas")
    return tuple(int(part) for part in given.split(","))


def _positive(given: str) -> int:
    number = int(given)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{given} is not above 0")
    return number


if __name__ == "__main__":
    sys.exit(run_command(main))
