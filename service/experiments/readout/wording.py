"""Numbers as a reader wants them."""

from service.experiments.readout.report import Interval

UNKNOWN = "–"


def percent(share: float) -> str:
    """`95 %`, `97.5 %`."""
    return f"{100 * share:.4g} %"


def lift(share: float | None) -> str:
    """`3.1 %`, `−0.04 %`; two digits at least."""
    if share is None:
        return UNKNOWN
    places = 1 if abs(share) >= 0.001 or not share else 2
    return f"{100 * share:.{places}f} %".replace("-", "−")


def higher(share: float) -> str:
    """`3.1 % higher`, `0.4 % lower`, `the same`."""
    text = lift(abs(share))
    return f"{text} {'higher' if share > 0 else 'lower'}" if float(text.split()[0]) else "the same"


def lifts(interval: Interval) -> str:
    """`1.2 % to 5.0 %`."""
    return UNKNOWN if interval.low is None else f"{lift(interval.low)} to {lift(interval.high)}"


def days(number: float) -> str:
    """`about 6 more days`."""
    whole = max(1, round(number))
    return f"about {whole} more day{'' if whole == 1 else 's'}"


def number(value: float | None) -> str:
    """Four digits."""
    return UNKNOWN if value is None else f"{value:.4g}"
