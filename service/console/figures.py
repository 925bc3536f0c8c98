"""Numbers and times as a person reads them; filters of the templates."""

from datetime import UTC, datetime

NOTHING = "–"
_SPACE = "\u202f"  # narrow and unbreakable: between a number and its unit


def count(number: float | None) -> str:
    """12345 as 12,345."""
    return NOTHING if number is None else f"{number:,.0f}"


def rate(share: float | None) -> str:
    """A share as percent, three digits or so: 0.0312 as 3.12 %."""
    return NOTHING if share is None else f"{_digits(100 * share)}{_SPACE}%"


def share(number: float) -> str:
    """A share that somebody chose, as percent without needless digits: 0.5 as 50 %."""
    return f"{100 * number:.4g}{_SPACE}%"


def lift(share: float | None) -> str:
    """A change as percent with its sign."""
    if share is None:
        return NOTHING
    text = f"{abs(100 * share):,.{0 if abs(share) >= 1 else 1 if abs(share) >= 0.1 else 2}f}"
    return f"{'−' if share < 0 else '+' if share > 0 else '±'}{text}{_SPACE}%"


def plain(number: float | None) -> str:
    """A number with three digits or so."""
    return NOTHING if number is None else _digits(number)


def small(number: float | None) -> str:
    """A number of any size, three digits."""
    return NOTHING if number is None else f"{number:.3g}"


def probability(p: float | None) -> str:
    """A p value as `= 0.042` or `< 0.0001`."""
    if p is None:
        return "not known"
    return "< 0.0001" if p < 0.0001 else f"= {p:.4f}" if p < 0.01 else f"= {p:.2f}"


def milliseconds(number: float | None) -> str:
    """A latency."""
    return NOTHING if number is None else f"{_digits(number)}{_SPACE}ms"


def clock(time: datetime | None) -> str:
    """A time to the minute, in UTC."""
    return NOTHING if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def duration(seconds: float) -> str:
    """A time in one unit; below ten of it with a tenth, but for seconds."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f}{_SPACE}{unit}"
    return f"{max(0, seconds):.0f}{_SPACE}s"


def age(seconds: float) -> str:
    """How long ago."""
    return f"{duration(seconds)} ago"


def moment(text: str | int | None) -> datetime | None:
    """An ISO time, or milliseconds since 1970; None where it is neither."""
    try:
        time = datetime.fromtimestamp(text / 1000, UTC) if isinstance(text, int) else datetime.fromisoformat(text or "")
    except (ValueError, OverflowError, OSError):
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _digits(number: float) -> str:
    size = abs(number)
    return f"{number:,.{0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 1 or size == 0 else 3}f}"
