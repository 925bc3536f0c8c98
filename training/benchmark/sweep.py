"""Compare models over a grid of synthetic logs, whose true probabilities are known.

Each cell of the grid is a log drawn with these options of `prepare synthetic`, in a folder that is removed afterwards;
each data seed draws another log, and seeds the models too. Results are kept in OUT as they come: after Ctrl-C or a kill
the same command goes on, and more values, models and seeds may join later. The report is OUT/report.html and .md: the
share of the oracle's lift against the first option, a panel for each value of the second.
"""

import argparse
import io
import shlex
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from itertools import product
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.markup import escape

from contract.errors import ConfigError
from training.benchmark.document import Document
from training.benchmark.grid import Cell, Point, grid_blocks
from training.benchmark.options import add_entries, names, positive
from training.benchmark.plan import Entry, Plan, entries, keep_to
from training.benchmark.report import write_document
from training.benchmark.runs import Arena, Outcome, read_outcome, write_outcome
from training.benchmark.study import attempt, outcome_line, runs_progress, steps_bar
from training.datasets import prepare
from training.datasets.prepared import Prepared
from training.device import choose_device


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `sweep` command."""
    parser = subparsers.add_parser("sweep", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="results and report")
    parser.add_argument(
        "--grid",
        nargs="+",
        required=True,
        metavar="OPTION=V,…",
        help="one or two options of `prepare synthetic`, as pairs=0,0.5,1 specific=0,0.5,1",
    )
    parser.add_argument("--prepare", default="--shape flat", metavar="TEXT", help="its other options (%(default)s)")
    parser.add_argument("--data-seeds", type=positive, default=3, metavar="N", help="1 to N (default: 3)")
    parser.add_argument("--max-seconds", type=float, metavar="S", help="start nothing more after this; 0: only report")
    add_entries(parser)
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    chosen, grid = entries(names(args.models), args.variant, args.set), _grid(args.grid)
    recipes = {entry.name: entry.recipe().model_dump(mode="json") for entry in chosen}
    given = {"prepare": args.prepare, "options": ", ".join(grid)}
    cells = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    for cell in cells:
        parsed(_arguments(args.prepare, cell, 1, args.out))  # a typo is an error now, not after hours
    keep_to(args.out, Plan(source=f"synthetic {args.prepare}, over {given['options']}", data=given, recipes=recipes))
    sweep = Sweep(args.out, args.prepare, chosen, args.device, args.max_seconds)
    finished = sweep.go([(cell, seed) for seed in range(1, args.data_seeds + 1) for cell in cells])
    points = list(sweep.points(cells, args.data_seeds))
    write_document(args.out, Document("Where interactions pay", grid_blocks(points, chosen, args.prepare)))
    told = "wrote" if finished else "out of time; so far in"
    sweep.console.print(f"{told} {args.out / 'report.html'}", soft_wrap=True)
    return 0


def _grid(texts: Sequence[str]) -> dict[str, list[str]]:
    """Option → values as written."""
    grid = {}
    for text in texts:
        option, _, values = text.partition("=")
        grid[option.lstrip("-")] = names(values)
    if not all(grid.values()) or len(grid) != len(texts) or len(grid) > 2:
        raise ConfigError(f"--grid {' '.join(texts)}: write one or two options with values, as pairs=0,0.5,1")
    return grid


class Sweep:
    """All runs of all cells; what is there is not done again."""

    def __init__(self, out: Path, options: str, chosen: Sequence[Entry], device: str, seconds: float | None) -> None:
        self.out, self.options, self.entries, self.console = out, options, chosen, Console()
        self.device = choose_device(device)
        self.deadline = None if seconds is None else perf_counter() + seconds
        self.progress = runs_progress(self.console)

    def go(self, cells: Sequence[tuple[Cell, int]]) -> bool:
        """Do what is missing; False where time ran out first."""
        with self.progress:
            self.bar = self.progress.add_task("all", total=len(cells) * len(self.entries))
            for cell, seed in cells:
                missing = [entry for entry in self.entries if self._outcome(cell, entry, seed) is None]
                self.progress.advance(self.bar, len(self.entries) - len(missing))
                if missing and not self._runs(cell, seed, missing):
                    return False
        return True

    def points(self, cells: Sequence[Cell], seeds: int) -> Iterator[Point]:
        """All that has ended."""
        for cell, entry, seed in product(cells, self.entries, range(1, seeds + 1)):
            if (outcome := self._outcome(cell, entry, seed)) is not None:
                yield Point(cell, entry.name, seed, outcome)

    def _runs(self, cell: Cell, seed: int, missing: Sequence[Entry]) -> bool:
        """Draw the log of a cell, run what is missing there; False where time ran out first."""
        if self._late():
            return False
        with tempfile.TemporaryDirectory(prefix=".data-", dir=self.out) as name:
            args, said = parsed(_arguments(self.options, cell, seed, Path(name, "data"))), io.StringIO()
            with redirect_stdout(said), redirect_stderr(said):  # its own words would tear the bars apart
                prepare.prepare(args)
            arena = Arena.load(Prepared.open(Path(name, "data")), self.device)
        for entry in missing:
            if self._late():
                return False
            recipe, where = entry.recipe(), f"{_folder(cell)}: {entry.name}, seed {seed}"
            with steps_bar(self.progress, where, arena, recipe) as tick:
                outcome, _ = attempt(arena, entry, recipe, seed, tick)
            write_outcome(self.out / "runs" / _folder(cell), outcome, None)
            self.progress.advance(self.bar)
            told = escape(f"{_folder(cell)}: {outcome_line(outcome)}")
            self.progress.console.print(told, soft_wrap=True, highlight=False)
        return True

    def _outcome(self, cell: Cell, entry: Entry, seed: int) -> Outcome | None:
        found = read_outcome(self.out / "runs" / _folder(cell), entry.name, seed)
        return found if found and found.recipe == entry.recipe().model_dump(mode="json") else None

    def _late(self) -> bool:
        return self.deadline is not None and perf_counter() >= self.deadline


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Arguments of `prepare synthetic`; ConfigError where it refuses them."""
    parser, said = argparse.ArgumentParser(prog="sweep"), io.StringIO()
    prepare.add_parser(parser.add_subparsers())
    try:
        with redirect_stderr(said):
            return parser.parse_args(["prepare", "synthetic", *arguments])
    except SystemExit:
        raise ConfigError(f"{shlex.join(arguments)}: {said.getvalue().splitlines()[-1]}") from None


def _arguments(options: str, cell: Cell, seed: int, out: Path) -> list[str]:
    drawn = [f"--{option}={value}" for option, value in cell.items()]
    return [*shlex.split(options), *drawn, "--seed", str(seed), "--out", str(out)]


def _folder(cell: Cell) -> str:
    return ",".join(f"{option}={value}" for option, value in cell.items())
