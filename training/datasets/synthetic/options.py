"""Options of the command line that decide a synthetic log."""

import argparse
from collections.abc import Callable
from dataclasses import replace

from contract.errors import ConfigError
from training.datasets.arguments import count, share
from training.datasets.synthetic.spec import BASES, Spec

SHAPE_HELP = "aliccp: the fields of Ali-CCP (default); flat: twelve categorical fields, for studying pairs of ids"
SPECIFIC_HELP = "of the pair tables' variance that is of one task alone; default: 3/7 (by number of tables), flat: 1/2"
LATE_HELP = "label of a conversion after the log's end: 1 (kept, default: a log read out later) or 0 (lost); counted"
EFFECTS = ("main", "factors", "pairs", "rho", "specific")
CHOICES = ("click_rate", "conversion_rate", "days", "drift", "cold", "delay", "late")  # None: the shape's own


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add size, shape, time and truth."""
    flat = BASES["flat"]
    parser.add_argument("--rows", type=count, default=Spec.rows, help="impressions (default %(default)s)")
    parser.add_argument("--seed", type=int, default=Spec.seed, help="default: %(default)s")
    parser.add_argument("--users", type=count, default=Spec.users, help="default: %(default)s")
    parser.add_argument("--items", type=count, default=Spec.items, help="default: %(default)s")
    parser.add_argument("--shape", choices=tuple(BASES), default=Spec.shape, help=SHAPE_HELP)
    parser.add_argument("--click-rate", type=share, help=f"default: .039, flat: {flat.click_rate:g}")
    parser.add_argument(
        "--conversion-rate", type=share, help=f"of clicks; default: .08, flat: {flat.conversion_rate:g}"
    )
    time = parser.add_argument_group("time")
    time.add_argument("--days", type=_days, help="from the first row to the last; default: 8")
    time.add_argument(
        "--drift", type=_between(0, 10), metavar="SD", help="of popularity and logits; default: .25, flat: 0"
    )
    time.add_argument(
        "--cold", type=_between(0, 1), metavar="SHARE", help="items that come later; default: .1, flat: 0"
    )
    time.add_argument("--delay", type=_hours, metavar="HOURS", help="mean, to a conversion; default: 24")
    time.add_argument("--late", choices=("kept", "lost"), help=LATE_HELP)
    truth = parser.add_argument_group("the truth", "what each term adds to the logit, as a standard deviation")
    strength, help_factors = _between(0, 10), "taste of user for item; default: .5, flat: .2"
    truth.add_argument("--pairs", type=strength, metavar="SD", help="free tables over pairs of fields; default: .9")
    truth.add_argument("--main", type=strength, metavar="SD", help="an effect of every value; default: .5")
    truth.add_argument("--factors", type=strength, metavar="SD", help=help_factors)
    truth.add_argument("--rho", type=_between(-1, 1), help="correlation of tastes in clicking and buying; default: .5")
    truth.add_argument("--specific", type=_between(0, 1), metavar="SHARE", help=SPECIFIC_HELP)
    truth.add_argument("--pair-fields", choices=("large", "small"), help="flat: halves by ids a field; default: large")


def spec_of(args: argparse.Namespace) -> Spec:
    """What the options ask for; ConfigError where they do not go together."""
    if args.shape != "flat" and args.pair_fields is not None:
        raise ConfigError("--pair-fields chooses between the halves of --shape flat; aliccp has its pairs fixed")
    base = BASES[args.shape]
    given = {name: value for name in CHOICES if (value := getattr(args, name)) is not None}
    effects = replace(base.effects, **{name: v for name in EFFECTS if (v := getattr(args, name)) is not None})
    return replace(
        base,
        rows=args.rows,
        users=args.users,
        items=args.items,
        seed=args.seed,
        half=args.pair_fields or "large",
        effects=effects,
        **given,
    )


def _days(text: str) -> int:
    value = count(text)
    if value > 366:
        raise argparse.ArgumentTypeError(f"{value} is more than 366 days")
    return value


def _hours(text: str) -> float:
    value = float(text)
    if not 0 < value <= 10_000:
        raise argparse.ArgumentTypeError(f"{value:g} is not in 0 to 10000 hours")
    return value


def _between(low: float, high: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{value:g} is not in {low:g} to {high:g}")
        return value

    return number
