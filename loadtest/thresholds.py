"""What a run came to, and whether that is good enough."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Summary:
    """Figures of one run; times in milliseconds."""

    seconds: float
    requests: int
    failures: int
    candidates: int  # in replies that were right
    p50: float
    p95: float
    p99: float
    slowest: float

    @property
    def error_rate(self) -> float:
        """Share of requests that failed or were answered wrongly."""
        return self.failures / self.requests if self.requests else 1.0

    @property
    def requests_per_second(self) -> float:
        """Of all requests, failed ones too."""
        return self.requests / self.seconds if self.seconds else 0.0

    @property
    def candidates_per_second(self) -> float:
        """Of right replies."""
        return self.candidates / self.seconds if self.seconds else 0.0

    def figures(self) -> dict[str, float]:
        """For a result file."""
        times = {"p50_ms": self.p50, "p95_ms": self.p95, "p99_ms": self.p99, "max_ms": self.slowest}
        return {
            "seconds": self.seconds,
            "requests": self.requests,
            "failures": self.failures,
            "requests_per_second": self.requests_per_second,
            "candidates_per_second": self.candidates_per_second,
            **times,
        }

    def table(self) -> str:
        """Names over figures, aligned."""
        columns = {
            "requests": f"{self.requests:,}",
            "failed": f"{self.failures:,} ({self.error_rate:.2%})",
            "requests/s": f"{self.requests_per_second:,.1f}",
            "candidates/s": f"{self.candidates_per_second:,.0f}",
            **{
                f"{name} ms": f"{value:,.3g}" if value < 1_000 else f"{value:,.0f}"
                for name, value in {"p50": self.p50, "p95": self.p95, "p99": self.p99, "max": self.slowest}.items()
            },
        }
        widths = [max(len(name), len(figure)) for name, figure in columns.items()]
        rows = (columns.keys(), columns.values())
        return "\n".join("  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows)


@dataclass(frozen=True)
class Thresholds:
    """Limits from the command line; None: no limit."""

    p99: float | None
    errors: float | None

    def broken(self, summary: Summary) -> list[str]:
        """One line for each limit that the run is past."""
        lines = []
        if self.p99 is not None and summary.p99 > self.p99:
            lines.append(f"p99 {summary.p99:.3g} ms is above --p99 {self.p99:g} ms")
        if self.errors is not None and summary.error_rate > self.errors:
            share = f"{summary.failures} of {summary.requests} requests"
            lines.append(f"error rate {summary.error_rate:.4g} ({share}) is above --errors {self.errors:g}")
        return lines
