"""`prepare aliccp`: its options."""

import argparse
from pathlib import Path

from training.datasets.aliccp.layout import HISTORY
from training.datasets.aliccp.source import read_aliccp
from training.datasets.arguments import count, share
from training.datasets.raw import Raw

VALIDATION, MIN_COUNT = 0.1, 10  # those of AITM's set-up
LONGEST = 1024

Parsers = argparse._SubParsersAction  # the only name that argparse has for it


def add_parser(sources: "Parsers[argparse.ArgumentParser]") -> None:
    """Add `aliccp`."""
    parser = sources.add_parser("aliccp", help="Ali-CCP's own files: click and conversion, 85 million impressions")
    parser.add_argument("--raw", type=Path, required=True, help="folder of the four files: .csv, .csv.gz, or .tar.gz")
    parser.add_argument("--validation", type=share, default=VALIDATION, help="of training rows (default %(default)s)")
    parser.add_argument(
        "--min-count", type=count, default=MIN_COUNT, help="rarer ids in training become 0 (default %(default)s)"
    )
    parser.add_argument(
        "--max-length", type=_length, default=HISTORY, help="values kept of a history (default %(default)s)"
    )


def read(args: argparse.Namespace) -> Raw:
    """What the options ask for."""
    return read_aliccp(args.raw, args.validation, args.max_length, args.min_count)


def _length(text: str) -> int:
    value = count(text)
    if value > LONGEST:
        raise argparse.ArgumentTypeError(f"{value} is more than {LONGEST}")
    return value
