"""`prepare synthetic`: a log drawn straight into a prepared data set, nothing on disk between."""

import argparse

from training.datasets.raw import Raw
from training.datasets.synthetic.options import add_options, spec_of
from training.datasets.synthetic.tables import draw

Parsers = argparse._SubParsersAction  # the only name that argparse has for it


def add_parser(sources: "Parsers[argparse.ArgumentParser]") -> None:
    """Add `synthetic`."""
    add_options(sources.add_parser("synthetic", help="a click log drawn from a known true probability"))


def read(args: argparse.Namespace) -> Raw:
    """What the options ask for."""
    return draw(spec_of(args))
