"""The sums against plain loops over all records, in any order and in any batches."""

import random

import orjson
import pytest

from service.experiments.outcomes.entry import Entry, entry
from service.experiments.outcomes.ledger import Clock, Ledger
from service.experiments.outcomes.replay import first_difference
from tests.service.experiments.outcomes.logs import START, assert_equal, draw, rules_of
from tests.service.experiments.outcomes.reference import DAY, HOUR, Record

FOREVER = 1 << 60


def entries_of(records: list[Record]) -> list[Entry]:
    return [entry("file", i, orjson.dumps(record)) for i, record in enumerate(records, 1)]


def counted(records: list[Record], batch: int = 50, received: int = FOREVER) -> Ledger:
    """In batches, through stored bytes and a ledger that is read anew each time."""
    users: dict[str, bytes] = {}
    ledger = Ledger({}, Clock(), rules_of)
    entries = entries_of(records)
    for start in range(0, len(entries), batch):
        part = entries[start : start + batch]
        ids = [each.record["user"] for each in part if each.record is not None and "user" in each.record]
        stored = {user: users.get(user) for user in ids}
        users |= ledger.count(part, stored, received)
        clock = Clock.model_validate_json(ledger.clock.model_dump_json())
        ledger = Ledger(
            {name: sums.model_validate_json(sums.model_dump_json()) for name, sums in ledger.sums.items()},
            clock, rules_of,
        )  # fmt: skip
    return ledger


@pytest.mark.parametrize("seed", range(6))
def test_the_sums_are_those_of_one_look_at_all_records(seed: int) -> None:
    records = draw(700, seed)
    ledger = counted(records)
    assert ledger.clock.late > 0
    assert ledger.clock.repeated > 0
    assert sum(sums.duplicates for sums in ledger.sums.values()) > 0
    assert_equal(ledger.sums, records)


def test_batches_do_not_matter() -> None:
    records = draw(400, 11)
    one, other = counted(records, 1), counted(records, 400)
    live, again = ({n: s.model_dump() for n, s in each.sums.items()} for each in (one, other))
    assert first_difference(live, again) is None
    assert one.clock.model_dump(exclude={"producers"}) == other.clock.model_dump(exclude={"producers"})
    assert len(one.sums["short/1"].snapshots) > 20


def test_order_does_not_matter_within_the_horizon() -> None:
    drawn = [each for each in draw(300, 12, days=5) if each.get("time", START) > START - 2 * DAY]
    records = [{**each, "producer": f"p{i}", "number": 1} for i, each in enumerate(drawn)]  # none is written twice
    shuffled = records[:]
    random.Random(1).shuffle(shuffled)
    assert counted(records).clock.late == counted(shuffled).clock.late == 0
    assert_equal(counted(shuffled).sums, records)
    assert_equal(counted(records).sums, shuffled)


def exposure(time: int, number: int, arm: str = "a", key: str = "short") -> Record:
    return {
        "producer": "p", "number": number, "kind": "exposure", "time": START + time, "user": "u", "key": key,
        "phase": 1, "arm": arm, "served": arm, "model": "m@1", "reason": "assigned", "config": 1, "predicted": 0,
    }  # fmt: skip


def click(time: int, number: int, name: str) -> Record:
    return {
        "producer": "q", "number": number, "kind": "click", "time": START + time, "user": "u", "id": name,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("after", "clicks"), [(-1, 0), (0, 1), (2 * HOUR, 1), (2 * HOUR + 1, 0)], ids=["before", "at", "last", "over"]
)
def test_a_click_counts_up_to_the_end_of_its_window(after: int, clicks: int) -> None:
    sums = counted([exposure(0, 1), click(after, 1, "c")]).sums["short/1"]
    assert sums.arms["a"].moments.total("clicks") == clicks
    assert sums.unattributed == (after > 2 * HOUR)


def test_a_late_exposure_claims_the_click_and_moves_the_user() -> None:
    records = [exposure(10 * HOUR, 1, "b"), click(HOUR, 1, "c")]
    assert counted(records).sums["short/1"].arms["b"].moments.total("clicks") == 0
    sums = counted([*records, exposure(0, 2, "a")]).sums["short/1"]
    assert sums.arms["a"].moments.total("clicks") == 1
    assert sums.arms["a"].crossed == 1
    assert (sums.arms["b"].moments.total("users"), sums.arms["b"].versions) == (0, {})


def test_a_server_whose_clock_is_ahead_makes_nobody_late() -> None:
    records = [exposure(1000 * DAY, 1), click(0, 1, "c"), exposure(0, 2, key="long"), click(1, 2, "d")]
    ledger = counted(records, received=START + HOUR)
    assert ledger.clock.late == 0
    assert ledger.sums["long/1"].arms["a"].moments.total("clicks") == 2
    assert counted(records).clock.late == 3


def test_memory_of_a_user_is_bounded() -> None:
    flood = [click(i, i, f"e{i}") for i in range(1, 2_502)]
    ledger = counted([exposure(0, 1), *flood])
    assert ledger.sums["short/1"].arms["a"].moments.total("clicks") == 2_000
    assert ledger.sums["short/1"].excess == 501
    # a year of visits, an hour and more apart
    users: dict[str, bytes | None] = {"u": None}
    ledger = Ledger({}, Clock(), rules_of)
    for i in range(1, 4_000):
        users |= ledger.count(entries_of([exposure(i * 3 * HOUR, i), click(i * 3 * HOUR, i, f"e{i}")]), users, FOREVER)
    assert len(users["u"] or b"") < 12_000
    assert ledger.sums["short/1"].arms["a"].moments.total("clicks") == 3_999


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"{", b"[]", b"{}", b"\xff", b'{"producer":"p","number":1,"kind":"click","time":"x","user":"u","id":"e"}',
        b'{"producer":"p","number":1,"kind":"value","time":1,"user":"u","id":"e","value":1e3}',
        b'{"producer":"p","number":1,"kind":"value","time":1,"user":"u","id":"e","value":99999999999999999}',
        b'{"producer":"p","number":1,"kind":"dropped","time":1,"counts":{"a":1}}',
    ],
)  # fmt: skip
def test_what_is_no_record_is_set_aside(raw: bytes) -> None:
    ledger = Ledger({}, Clock(), rules_of)
    assert ledger.count([entry("file", 1, raw)], {}, FOREVER) == {}
    assert (ledger.clock.malformed, ledger.clock.records, ledger.sums) == (1, 0, {})


def test_numbers_that_nobody_saw_are_told() -> None:
    assert counted([exposure(0, 3), exposure(1, 4), exposure(2, 9)]).clock.missing == 6
