"""All sums, and what a batch of records changes in them. No I/O: users come in and go out as bytes.

The log's clock is the latest time of an exposure so far, which our own servers wrote; a record from before the horizon
(the largest window and a day) is late and does not count. Sums change by a user's new contribution less the old one,
in whole numbers; so they equal what a single look at all records would give, in whatever order they came.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel

from service.experiments.config import Measure
from service.experiments.outcomes.entry import Entry
from service.experiments.outcomes.moments import COLUMNS
from service.experiments.outcomes.snapshots import next_due, take
from service.experiments.outcomes.sums import ArmSums, ExperimentSums, PhaseRules
from service.experiments.outcomes.user import (
    CROSSED,
    DAY,
    DUPLICATES,
    UNATTRIBUTED,
    Enrolment,
    First,
    Terms,
    User,
    terms_of,
)

LATENESS = DAY
MOST_PRODUCERS = 1_000
Key = TypeVar("Key", int, str)
RulesOf = Callable[[str, int, int], PhaseRules]  # key, phase, version of the configuration


class Clock(BaseModel):
    """The log's time and what is remembered of its producers; part of the cursor."""

    now: int = 0  # milliseconds
    limit: int = 0  # records from before it are late; it never goes back
    horizon: int = terms_of(Measure()).longest + LATENESS
    producers: dict[str, tuple[int, int]] = {}  # last number, and when it was
    records: int = 0
    repeated: int = 0  # records that had been read before
    missing: int = 0  # numbers that a producer gave and nobody saw
    malformed: int = 0
    late: int = 0


class Ledger:
    """Sums of all phases, by `key/phase`."""

    def __init__(self, sums: Mapping[str, ExperimentSums], clock: Clock, rules_of: RulesOf) -> None:
        self.sums, self.clock, self._rules_of = dict(sums), clock, rules_of
        self._terms: dict[str, Terms] = {name: terms_of(each.measure) for name, each in self.sums.items()}
        self.changed: set[str] = set()  # phases, since forget_changes
        self.snapped: set[str] = set()  # phases with new snapshots
        self._users: dict[str, User] = {}
        self._touched: dict[str, User] = {}
        self._due = self._next_due()

    def count(self, entries: Iterable[Entry], stored: Mapping[str, bytes | None], received: int) -> dict[str, bytes]:
        """Count records read at `received`; users as they are stored, out come those that changed."""
        self._users = {}
        for each in entries:
            if each.record is None:
                self.clock.malformed += 1
            elif self._is_new(each.lane, each.record):
                self._count(each.record, stored, received)
        self._recount()
        self._forget_producers()
        return {user_id: user.encoded() for user_id, user in self._users.items() if user.days or user.enrolments}

    def forget_changes(self) -> None:
        """What changed is written."""
        self.changed, self.snapped = set(), set()

    def _is_new(self, lane: str, record: Mapping[str, Any]) -> bool:
        clock = self.clock
        producer, number = f"{record['producer']}/{lane}" if lane else record["producer"], record["number"]
        last, _ = clock.producers.get(producer, (0, 0))
        if number <= last:
            clock.repeated += 1
            return False
        if not lane:
            clock.missing += number - last - 1
        clock.producers[producer] = (number, clock.now)
        clock.records += 1
        return True

    def _forget_producers(self) -> None:
        """Processes that ended long ago."""
        clock = self.clock
        if len(clock.producers) > MOST_PRODUCERS:
            clock.producers = {name: last for name, last in clock.producers.items() if last[1] >= clock.limit}

    def _count(self, record: Mapping[str, Any], stored: Mapping[str, bytes | None], received: int) -> None:
        if record["kind"] == "exposure":
            self._advance(min(record["time"], received))  # a server whose clock is ahead takes nobody along
            self._expose(record, stored)
        elif record["kind"] == "dropped":
            self._drop(record["counts"])
        else:
            self._act(record, stored)

    def _advance(self, time: int) -> None:
        clock = self.clock
        if time <= clock.now:
            return
        if time >= self._due:
            self._snapshot(time)
        clock.now, clock.limit = time, max(clock.limit, time - clock.horizon)
        if time >= self._due:
            self._due = self._next_due()

    def _expose(self, record: Mapping[str, Any], stored: Mapping[str, bytes | None]) -> None:
        name = f"{record['key']}/{record['phase']}"
        sums = self._phase(record["key"], record["phase"], record["config"])
        if self._is_late(record):
            sums.late += 1
            return
        arm = _arm(sums, record["arm"])
        user = self._user(record["user"], stored)
        user.day(record["time"])[1] += 1
        if record["reason"] != "assigned":
            arm.overridden += 1
            return
        if record["served"] != record["arm"]:
            arm.fallbacks += 1
        arm.models[record["model"]] = arm.models.get(record["model"], 0) + 1
        if not 0 < sums.first <= record["time"]:
            sums.first = record["time"]
        if sums.last < record["time"]:
            sums.last = record["time"]
        segments = sorted(f"{field}={value}" for field, value in record.get("segments", {}).items())
        first = First(record["time"], record["arm"], record["config"], segments)
        user.enrol(name, first, record.get("predicted", 0), self._terms[name], self.clock.limit)

    def _act(self, record: Mapping[str, Any], stored: Mapping[str, bytes | None]) -> None:
        user = self._user(record["user"], stored)
        if self._is_late(record):
            for name in user.enrolments:
                self._touch_phase(name).late += 1
        elif not user.act(record):
            for name in user.enrolments:
                self._touch_phase(name).excess += 1

    def _drop(self, counts: Mapping[str, int]) -> None:
        for name, count in counts.items():
            key, phase, arm = name.split("/")
            if phase.isdecimal():
                sums = self._phase(key, int(phase), 0)
                _arm(sums, arm).dropped += count

    def _is_late(self, record: Mapping[str, Any]) -> bool:
        if record["time"] >= self.clock.limit:
            return False
        self.clock.late += 1
        return True

    def _user(self, user_id: str, stored: Mapping[str, bytes | None]) -> User:
        """The user, without what is past the horizon; whatever happens to it is counted at the end."""
        if (user := self._users.get(user_id)) is None:
            user = self._users[user_id] = User(stored[user_id])
        user.settle(self.clock.limit, self._terms)
        self._touched[user_id] = user
        return user

    def _phase(self, key: str, phase: int, config: int) -> ExperimentSums:
        name = f"{key}/{phase}"
        if name not in self.sums:
            measure, minutes = self._rules_of(key, phase, config)
            self.sums[name] = ExperimentSums(key=key, phase=phase, measure=measure, snapshot_minutes=minutes)
            self._terms[name] = terms = terms_of(measure)
            self.clock.horizon = max(self.clock.horizon, terms.longest + LATENESS)
            self._due = self._next_due()
        return self._touch_phase(name)

    def _touch_phase(self, name: str) -> ExperimentSums:
        self.changed.add(name)
        return self.sums[name]

    def _recount(self) -> None:
        """Users who were touched: their new contributions in place of the old ones."""
        for user in self._touched.values():
            user.settle_days(self.clock.limit, self._terms)
            for name, enrolment in user.enrolments.items():
                contribution = user.contribution(enrolment, self._terms[name])
                if contribution != enrolment.counted or enrolment.was != enrolment.first:
                    self._replace(self._touch_phase(name), enrolment, contribution)
        self._touched = {}

    def _replace(self, sums: ExperimentSums, enrolment: Enrolment, contribution: list[int]) -> None:
        if enrolment.counted:
            _add(sums, enrolment.was, enrolment.counted, -1)
        _add(sums, enrolment.first, contribution, 1)
        enrolment.counted, enrolment.was = contribution, enrolment.first

    def _snapshot(self, time: int) -> None:
        """Of phases whose time has come, as they are before the record of this time."""
        self._recount()
        for name, sums in self.sums.items():
            if next_due(sums, self.clock.now) <= time and take(sums, self.clock.now):
                self.snapped.add(name)

    def _next_due(self) -> float:
        return min((next_due(sums, self.clock.now) for sums in self.sums.values()), default=float("inf"))


def _arm(sums: ExperimentSums, name: str) -> ArmSums:
    if name not in sums.arms:
        sums.arms[name] = ArmSums()
    return sums.arms[name]


def _add(sums: ExperimentSums, first: First, contribution: list[int], times: int) -> None:
    arm = sums.arms[first.arm]
    arm.moments.add(contribution[: len(COLUMNS)], times)
    if any(contribution[CROSSED:]):
        arm.crossed += times * contribution[CROSSED]
        sums.unattributed += times * contribution[UNATTRIBUTED]
        sums.duplicates += times * contribution[DUPLICATES]
    _add_one(arm.versions, first.config, times)
    for segment in first.segments:
        _add_one(arm.segments, segment, times)


def _add_one(counts: dict[Key, int], key: Key, times: int) -> None:
    counts[key] = counts.get(key, 0) + times
    if not counts[key]:
        del counts[key]
