"""Numbers as people read them."""


def count(value: int) -> str:
    """With thousands apart."""
    return f"{value:,}"


def number(value: float | None) -> str:
    """Four digits, or a dash where undefined."""
    if value is None:
        return "–"
    if value and not 1e-3 <= abs(value) < 1e7:
        return f"{value:.2e}"
    return f"{value:,.0f}" if value.is_integer() or abs(value) >= 1e4 else f"{value:.4g}"


def digits(value: float | None) -> str:
    """Four decimals, or a dash where undefined: metrics, side by side."""
    return "–" if value is None else f"{value:.4f}"


def share(value: float | None) -> str:
    """Per cent, with digits where they matter."""
    if value is None:
        return "–"
    percent = 100 * value
    if percent in (0, 100):
        return f"{percent:.0f} %"
    if 99.9 < percent < 100:
        return f"{min(percent, 99.99):.2f} %"
    return f"{percent:.1f} %" if percent >= 10 else f"{percent:.2f} %" if percent >= 0.01 else "< 0.01 %"
