"""Types of command-line arguments that several sources share."""

from argparse import ArgumentTypeError


def count(text: str) -> int:
    """A whole number from 1."""
    value = int(text)
    if value < 1:
        raise ArgumentTypeError(f"{value} is not a positive number")
    return value


def share(text: str) -> float:
    """A number between 0 and 1, neither of them."""
    value = float(text)
    if not 0 < value < 1:
        raise ArgumentTypeError(f"{value} is not between 0 and 1")
    return value
