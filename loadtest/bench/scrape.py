"""What the service counts of itself, read from its /metrics."""

import urllib.request
from urllib.error import URLError

from prometheus_client.parser import text_string_to_metric_families

from contract.errors import ConfigError

_STAGE, _CACHE = "twinscore_stage_seconds", "twinscore_item_cache"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Counts:
    """Counters and sums; subtract an earlier one to see what happened between."""

    def __init__(self, values: dict[tuple[str, str], float]) -> None:
        self._values = values  # (name of the sample, value of its labels) → value

    def __sub__(self, before: "Counts") -> "Counts":
        return Counts({key: value - before._values.get(key, 0.0) for key, value in self._values.items()})

    def stages(self) -> dict[str, float]:
        """Mean seconds of a request in each stage, in the order of the page; only stages that were passed."""
        counts = {label: value for (name, label), value in self._values.items() if name == f"{_STAGE}_count"}
        return {stage: self._values[f"{_STAGE}_sum", stage] / count for stage, count in counts.items() if count}

    def hits(self) -> float | None:
        """Share of look-ups of items that the cache in the process answered; None where none was counted."""
        hits, misses = (self._cached(event) for event in ("hit", "miss"))
        return hits / (hits + misses) if hits + misses else None

    def _cached(self, event: str) -> float:
        """Counters that tell the event in their name or in their label."""
        found = ((name.removeprefix(_CACHE) + label, value) for (name, label), value in self._values.items()
                 if name.startswith(_CACHE) and name.endswith("_total"))  # fmt: skip
        return sum(value for named, value in found if event in named)


def scrape(url: str) -> Counts:
    """Read a page of metrics."""
    try:
        with _DIRECT.open(url, timeout=10) as reply:
            text = reply.read().decode()
    except URLError as error:
        raise ConfigError(f"{url}: {error.reason}") from None
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return Counts({(sample.name, ",".join(sample.labels.values())): sample.value for sample in samples})
