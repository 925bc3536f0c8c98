"""What is remembered of a user, and what of it counts in a phase.

An event counts where some exposure of the same phase lies at most a window before it. Exposures whose gaps are at most
the smaller window are kept as one span [start, end]: the union of [x, x + window] over them is [start, end + window]
for that window and for every larger one, so nothing is lost. Nothing here depends on the order of the records.

Memory of a user is bounded: events up to the horizon and MOST_EVENTS of them, spans that can still claim an event and
MOST_SPANS of them, totals of about 100 days, and one entry for each phase that the user was ever in.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from service.experiments.config import Measure
from service.experiments.log.records import MICROS
from service.experiments.outcomes.moments import COLUMNS

HOUR = 3_600_000  # milliseconds
DAY = 24 * HOUR
MOST_EVENTS = 2_000
MOST_SPANS = 1_000
MOST_PRIOR_DAYS = 90  # what Measure allows
KINDS = {"click": 0, "conversion": 1, "value": 2}
CROSSED, UNATTRIBUTED, DUPLICATES = (len(COLUMNS) + i for i in range(3))  # places after the columns
_WIDEST = 1 << 62  # what 64 bits hold with room for a sum
_CLICK = KINDS["click"]


class Terms(NamedTuple):
    """How a phase counts, in milliseconds and millionths."""

    click: int
    conversion: int
    prior_days: int
    cap: int | None

    @property
    def longest(self) -> int:
        """The larger window."""
        return max(self.click, self.conversion)


def terms_of(measure: Measure) -> Terms:
    """The terms of a configuration."""
    cap = None if measure.value_cap is None else round(measure.value_cap * MICROS)
    return Terms(round(measure.click_hours * HOUR), round(measure.conversion_hours * HOUR), measure.prior_days, cap)


class First(NamedTuple):
    """A user's first exposure; of two at one time the smaller counts, whichever came first."""

    time: int
    arm: str
    config: int
    segments: list[str]  # "field=value", sorted


class Enrolment:
    """A user in one phase of one experiment."""

    __slots__ = ("arms", "counted", "exposures", "first", "predicted", "prior", "settled", "spans", "was")

    def __init__(self, row: list[Any]) -> None:
        first, self.arms, self.exposures, self.predicted, self.spans, self.settled, self.prior, self.counted = row
        self.first = First(*first)
        self.was = self.first  # when it was counted
        # settled: clicks, conversions, value, unattributed, duplicates of events that are no longer kept
        # prior: exposures, clicks, conversions, value of prior days that are no longer kept

    def row(self) -> list[Any]:
        """What __init__ takes."""
        # a plain list: orjson knows no named tuples
        return [
            list(self.first), self.arms, self.exposures, self.predicted, self.spans, self.settled, self.prior,
            self.counted,
        ]  # fmt: skip

    def expose(self, first: First, predicted: int, terms: Terms, limit: int) -> None:
        """One more exposure; what can claim no event any more is forgotten."""
        self.exposures += 1
        self.predicted += predicted
        if first.arm not in self.arms:
            self.arms = sorted([*self.arms, first.arm])
        self.first = min(self.first, first)
        _include(self.spans, first.time, min(terms.click, terms.conversion))
        while self.spans[0][1] < limit - terms.longest:
            del self.spans[0]
        if len(self.spans) > MOST_SPANS:
            self.spans[:2] = [[self.spans[0][0], self.spans[1][1]]]

    def claims(self, time: int, window: int) -> bool:
        """Whether an exposure lies at most a window before."""
        for start, end in reversed(self.spans):
            if start <= time:
                return bool(time <= end + window)  # earlier spans end earlier
        return False

    def tally(self, event: list[Any], terms: Terms, into: list[int]) -> None:
        """Add an event to clicks, conversions, value, unattributed, duplicates."""
        _, kind, time, value, repeats = event
        if not self.claims(time, terms.click if kind == _CLICK else terms.conversion):
            into[3] += time >= self.first.time
            return
        if kind != KINDS["value"]:
            into[kind] += 1
        if kind != _CLICK:
            into[2] += value
        into[4] += repeats


class User:
    """Events and daily totals of a user, and an enrolment for each phase, by `key/phase`."""

    __slots__ = ("_oldest", "days", "enrolments", "events")

    def __init__(self, stored: bytes | None = None) -> None:
        enrolments, events, days = orjson.loads(stored) if stored else ({}, [], [])
        self.enrolments = {name: Enrolment(row) for name, row in enrolments.items()}
        self.events: dict[str, list[Any]] = {row[0]: row for row in events}  # id, kind, time, value, repeats
        self.days: dict[int, list[int]] = {row[0]: row for row in days}  # day, exposures, clicks, conversions, value
        self._oldest = min((row[2] for row in events), default=0)

    def encoded(self) -> bytes:
        """What __init__ takes."""
        enrolments = {name: enrolment.row() for name, enrolment in self.enrolments.items()}
        return orjson.dumps([enrolments, list(self.events.values()), list(self.days.values())])

    def day(self, time: int) -> list[int]:
        """Totals of the day of a time, to be added to."""
        number = time // DAY
        if (row := self.days.get(number)) is None:
            row = self.days[number] = [number, 0, 0, 0, 0]
        return row

    def enrol(self, name: str, first: First, predicted: int, terms: Terms, limit: int) -> None:
        """An exposure that counts."""
        if (enrolment := self.enrolments.get(name)) is None:
            enrolment = self.enrolments[name] = Enrolment([first, [], 0, 0, [], [0] * 5, [0] * 4, []])
        enrolment.expose(first, predicted, terms, limit)

    def act(self, event: Mapping[str, Any]) -> bool:
        """An event; False where so many are kept that it does not count."""
        name, kind, time, value = event["id"], KINDS[event["kind"]], event["time"], event.get("value", 0)
        if (known := self.events.get(name)) is not None:
            known[4] += 1
            return True
        if len(self.events) >= MOST_EVENTS:
            return False
        self._oldest = min(self._oldest, time) if self.events else time
        self.events[name] = [name, kind, time, value, 0]
        day = self.day(time)
        if kind != KINDS["value"]:
            day[2 + kind] += 1
        if kind != _CLICK:
            day[4] = _bounded(day[4] + value)
        return True

    def settle(self, limit: int, terms: Mapping[str, Terms]) -> None:
        """Forget events before the limit: no record that still counts can change what they count as."""
        if not self.events or self._oldest >= limit:
            return
        for event in [event for event in self.events.values() if event[2] < limit]:
            del self.events[event[0]]
            for name, enrolment in self.enrolments.items():
                enrolment.tally(event, terms[name], enrolment.settled)
                enrolment.settled[2] = _bounded(enrolment.settled[2])
        self._oldest = min((row[2] for row in self.events.values()), default=0)

    def settle_days(self, limit: int, terms: Mapping[str, Terms]) -> None:
        """Forget days that no first exposure after the limit has before it."""
        oldest = limit // DAY - MOST_PRIOR_DAYS
        for number in [number for number in self.days if number < oldest]:
            row = self.days.pop(number)
            for name, enrolment in self.enrolments.items():
                day = enrolment.first.time // DAY
                if day - terms[name].prior_days <= number < day:
                    enrolment.prior = [_bounded(a + b) for a, b in zip(enrolment.prior, row[1:], strict=True)]

    def contribution(self, enrolment: Enrolment, terms: Terms) -> list[int]:
        """The user in a phase: moments.COLUMNS, then crossed, unattributed, duplicates."""
        counted = enrolment.settled.copy()
        for event in self.events.values():
            enrolment.tally(event, terms, counted)
        clicks, conversions, value, unattributed, duplicates = counted
        exposures, prior_clicks, prior_conversions, prior_value = self._prior(enrolment, terms)
        if terms.cap is not None:
            value, prior_value = min(value, terms.cap), min(prior_value, terms.cap)
        return [
            1, enrolment.exposures, clicks, conversions, value, enrolment.predicted,
            exposures, prior_clicks, prior_conversions, prior_value,
            int(len(enrolment.arms) > 1), unattributed, duplicates,
        ]  # fmt: skip

    def _prior(self, enrolment: Enrolment, terms: Terms) -> list[int]:
        prior: list[int] = enrolment.prior
        first = enrolment.first.time // DAY
        for number in range(first - terms.prior_days, first):
            if (row := self.days.get(number)) is not None:
                prior = [_bounded(a + b) for a, b in zip(prior, row[1:], strict=True)]
        return prior


def _include(spans: list[list[int]], time: int, gap: int) -> None:
    """Add a moment; spans with at most `gap` between them are one."""
    at = bisect_left(spans, [time])
    after = spans[at] if at < len(spans) else None
    if at and time <= spans[at - 1][1] + gap:
        before = spans[at - 1]
        before[1] = max(before[1], time)
        if after is not None and after[0] <= before[1] + gap:
            before[1] = after[1]
            del spans[at]
    elif after is not None and after[0] <= time + gap:
        after[0] = time
    else:
        spans.insert(at, [time, time])


def _bounded(value: int) -> int:
    return max(-_WIDEST, min(_WIDEST, value))
