"""Options that the commands share."""

import argparse

from training.models import MODELS


def add_entries(parser: argparse.ArgumentParser) -> None:
    """Add what is compared, and on which device."""
    parser.add_argument("--models", default=",".join(MODELS), metavar="NAME,…", help="default: %(default)s")
    parser.add_argument(
        "--variant",
        action="append",
        default=[],
        metavar="NAME=MODEL:KEY=VALUE,…",
        help="a model with settings over its recipe and its tuned settings, as dtn-no-tsn=dtn:model.tsn=false",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="over every recipe, and not tuned"
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if there")


def positive(text: str) -> int:
    """A count of at least 1."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{value} is not a positive number")
    return value


def names(text: str) -> list[str]:
    """Names between commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def count(text: str) -> int:
    """A count, 0 too."""
    if (value := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"{value} is negative")
    return value
