"""`python -m training synthetic`: a click log with known true probabilities, written to files.

    parquet   interactions/, users/, items/ and schema.yaml, for `python -m training prepare table --raw DIR`
    aliccp    the four files of Ali-CCP, for `python -m training prepare aliccp --raw DIR`

The same options give the same rows on any machine. A run that was cut off goes on with the files that are missing.
`python -m training prepare synthetic` prepares the same log without files between.
"""

import argparse
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import Progress

from contract.errors import DataError
from contract.files import write_text
from training.datasets.aliccp.drawn import write_synthetic
from training.datasets.aliccp.files import COMMON, PARTS, SKELETON
from training.datasets.synthetic.files import SPEC, Part, claim, parts, read_back, write_parquet
from training.datasets.synthetic.options import add_options, spec_of
from training.datasets.synthetic.oracle import Metrics, oracle
from training.datasets.synthetic.spec import Spec
from training.datasets.synthetic.tables import draw

_LATE = {"kept": "labelled 1", "lost": "labelled 0"}


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `synthetic`."""
    parser = subparsers.add_parser(
        "synthetic", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the files")
    parser.add_argument("--format", choices=("parquet", "aliccp"), default="parquet", help="default: %(default)s")
    add_options(parser)
    parser.set_defaults(command=synthetic)


def synthetic(args: argparse.Namespace) -> int:
    """Write the files, and say what the best possible model would score."""
    spec = spec_of(args)
    try:
        claim(args.out, spec, args.format)
        frames = _parquet(args.out, spec) if args.format == "parquet" else _aliccp(args.out, spec)
    except OSError as error:
        raise DataError(f"{args.out}: cannot be written: {error.strerror or error}") from None
    _tell(args.out, spec, frames)
    return 0


def _parquet(folder: Path, spec: Spec) -> Iterable[pl.DataFrame]:
    """Write what is missing; the labels and truth of all."""
    files, console = parts(folder, spec), Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("write", total=len(files))

        def done(part: Part) -> None:
            progress.update(bar, advance=1, description=f"{part.path.parent.name}/{part.path.name}")

        write_parquet(folder, spec, files, done)
    return read_back(files)


def _aliccp(folder: Path, spec: Spec) -> Iterable[pl.DataFrame]:
    """Write the four files, unless they are there; the labels and truth, which the format has no place for."""
    if not all((folder / f"{stem}_{part}.csv").is_file() for stem in (COMMON, SKELETON) for part in PARTS):
        with Console(stderr=True).status("write"):
            write_synthetic(spec, folder)
    return (chunk.frame for part in draw(spec).interactions.partitions for chunk in part.chunks())


def _tell(folder: Path, spec: Spec, frames: Iterable[pl.DataFrame]) -> None:
    late: list[int] = []

    def watched() -> Iterator[pl.DataFrame]:
        for frame in frames:
            late.append(int((frame["truth:conversion_time"] >= spec.end).sum()))
            yield frame

    found = oracle(watched())
    known = json.loads((folder / SPEC).read_bytes())
    scores = {name: metrics._asdict() for name, metrics in found.items()}
    write_text(folder / SPEC, json.dumps(known | {"late": sum(late), "oracle": scores}, indent=1) + "\n")
    console = Console()
    console.print(
        f"{spec.rows:,} rows, {spec.users:,} users, {spec.items:,} items → {folder}", highlight=False, soft_wrap=True
    )
    for name, metrics in found.items():
        console.print(f"{name:<6} {_told(metrics)}", highlight=False, soft_wrap=True)
    console.print(f"{sum(late):,} conversions after the log's end, {_LATE[spec.late]}", highlight=False, soft_wrap=True)


def _told(metrics: Metrics) -> str:
    """Of the true probabilities: no model can do better, but by luck."""
    rate = metrics.positives / max(1, metrics.rows)
    auc, ratio = ("–" if value is None else f"{value:.4f}" for value in (metrics.auc, metrics.calibration))
    scores = f"AUC {auc}, log loss {metrics.log_loss:.5f}, calibration {ratio}, ECE {metrics.ece:.5f}"
    return f"{rate:.4%} of {metrics.rows:,}; the oracle's {scores}"
