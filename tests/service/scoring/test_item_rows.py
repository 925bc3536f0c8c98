"""Item rows kept in process: what is kept, for how long, and under which key; without Redis."""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from contract.rows import layout
from contract.schema import Side
from service.scoring.item_rows import KEY_BITS, Found, ItemRows
from tests.service.bundles import SCHEMA, dictionaries, encode

LAYOUT = layout(SCHEMA, dictionaries(), Side.ITEM)


def packed(price: float) -> bytes:
    """A row as it lies in Redis."""
    return LAYOUT.encode(*encode(SCHEMA, (Side.ITEM,), [{"category": "w", "price": price}]))[0]


class Shop:
    """A table of rows, and a dict that stands for Redis; counts what is asked of it."""

    def __init__(self, capacity: int = 100, megabytes: int = 64, seconds: float = 60) -> None:
        self.counts: Counter[str] = Counter()
        self.stored: dict[str, bytes] = {}
        self.asked: list[str] = []
        counts = {event: self._counter(event) for event in ("hits", "misses", "evictions", "invalidations")}
        self.rows = ItemRows(LAYOUT, capacity, megabytes, seconds, counts)
        self.rows.trusted = True

    def _counter(self, event: str) -> Any:
        return lambda n: self.counts.update({event: n})

    def read(self, *items: str, meanwhile: Any = None) -> Found:
        """One request; `meanwhile` happens after Redis was asked."""
        with self.rows.look_up(items) as look_up:
            self.asked = list(look_up.wanted)
            raw = [self.stored.get(item) for item in look_up.wanted]
            if meanwhile is not None:
                meanwhile()
            self.rows.fill(look_up, raw)
        return look_up.found

    def set(self, price: float, *items: str) -> None:
        """Write rows; the table hears of it."""
        self.stored |= dict.fromkeys(items, packed(price))
        self.rows.drop(items)


def prices(found: Found) -> Sequence[float]:
    """The only numeric column."""
    return [round(float(price), 6) for price in found.dense[:, 0]]


def test_a_row_is_asked_for_once() -> None:
    shop = Shop()
    shop.set(1, "a")
    shop.set(2, "b")
    first = shop.read("a", "b")
    assert shop.asked == ["a", "b"]
    second = shop.read("b", "a", "c")
    assert shop.asked == ["c"]
    assert (prices(first), prices(second)) == ([1, 2], [2, 1, 0])
    np.testing.assert_array_equal(second.ids[:2], LAYOUT.decode([packed(2), packed(1)]).ids)
    assert second.missing.tolist() == [False, False, True]
    assert second.keys[:2].tolist() == first.keys[::-1].tolist()
    assert (shop.counts["hits"], shop.counts["misses"]) == (2, 3)


def test_an_absent_row_is_kept_as_absent() -> None:
    shop = Shop()
    shop.read("a")
    found = shop.read("a")
    assert (shop.asked, found.missing.tolist(), prices(found)) == ([], [True], [0])
    np.testing.assert_array_equal(found.ids[0], LAYOUT.default_ids)
    shop.set(3, "a")
    assert prices(shop.read("a")) == [3]


@pytest.mark.parametrize("row", [b"short", b"", packed(1)[:-1] + b"!", packed(1) + b"!"])
def test_a_corrupt_row_is_never_kept(row: bytes) -> None:
    shop = Shop()
    shop.stored |= {"a": row, "b": packed(1)}
    for asked in (["a", "b", "a"], ["a", "a"]):
        found = shop.read("a", "b", "a")
        assert (shop.asked, found.corrupt) == (asked, 2)
        assert found.missing.tolist() == [True, False, True]
        assert found.keys[[0, 2]].tolist() == [0, 0]


def test_keys_name_slot_and_content() -> None:
    shop = Shop(capacity=100)
    items = [f"i{n}" for n in range(50)]
    found = shop.read(*items, "i3")
    assert found.keys[50] == found.keys[3]
    assert len(set(found.keys.tolist())) == 50
    assert ((found.keys & ((1 << KEY_BITS) - 1)) < 100).all()
    assert (found.keys >> KEY_BITS > 0).all()
    assert set(Shop().read("a").keys.tolist()).isdisjoint(found.keys.tolist())  # nor in another table


def test_a_key_ends_with_its_row() -> None:
    shop = Shop()
    shop.set(1, "a")
    before = shop.read("a").keys
    shop.set(1, "a")  # also where it is the same again: who knows what it was between
    assert shop.read("a").keys != before


def test_rows_are_read_again_after_their_time() -> None:
    shop = Shop(seconds=0.02)
    shop.stored |= {"a": packed(1), "b": packed(2)}
    before = shop.read("a", "b")
    time.sleep(0.03)
    shop.stored["b"] = packed(3)  # unheard of
    after = shop.read("a", "b")
    assert (shop.asked, prices(after)) == (["a", "b"], [1, 3])
    assert after.keys[0] == before.keys[0]  # the same row: what was computed of it stays good
    assert after.keys[1] != before.keys[1]


def test_a_row_of_defaults_is_not_an_absent_row() -> None:
    shop = Shop(seconds=0.01)  # a model takes its own defaults where a row is absent
    before = shop.read("a").keys
    shop.stored["a"] = LAYOUT.encode(LAYOUT.default_ids[None], LAYOUT.default_dense[None])[0]
    time.sleep(0.02)
    after = shop.read("a")
    assert after.keys != before
    assert not after.missing[0]


def test_nothing_is_kept_while_changes_are_not_heard_of() -> None:
    shop = Shop()
    shop.stored["a"] = packed(1)
    shop.read("a")
    shop.rows.distrust()
    for _ in range(2):
        found = shop.read("a")
        assert (shop.asked, prices(found), found.keys.tolist()) == (["a"], [1], [0])

    def trust() -> None:
        shop.rows.trusted = True

    assert shop.read("a", meanwhile=trust).keys.tolist() == [0]  # asked for before
    assert shop.read("a").keys.tolist() != [0]
    assert len(shop.rows) == 1


def test_what_changes_on_its_way_is_not_kept() -> None:
    shop = Shop()
    shop.stored |= {"a": packed(1), "b": packed(1), "c": packed(1)}
    old = shop.read("a", "b", "a", meanwhile=lambda: shop.set(2, "a"))
    assert (prices(old), old.keys[[0, 2]].tolist()) == ([1, 1, 1], [0, 0])
    assert prices(shop.read("a", "b")) == [2, 1]
    assert shop.asked == ["a"]


def test_what_is_on_its_way_when_all_is_dropped_is_not_kept() -> None:
    shop = Shop()

    def switch() -> None:
        shop.rows.switch("g2")
        shop.rows.trusted = True

    for meanwhile in (shop.rows.clear, switch, None):
        shop.read("a", meanwhile=meanwhile)
        assert shop.asked == ["a"]
    shop.read("a")
    assert shop.asked == []


def test_the_newer_of_two_reads_keeps_its_key() -> None:
    """An old row on its way must not take the key under which another request kept the new one."""
    shop = Shop()
    shop.stored["a"] = packed(1)
    newer: list[Found] = []

    def change_and_read() -> None:
        shop.set(2, "a")
        newer.append(shop.read("a"))

    older = shop.read("a", meanwhile=change_and_read)
    assert (prices(older), older.keys.tolist()) == ([1], [0])
    now = shop.read("a")
    assert (prices(now), now.keys.tolist()) == ([2], newer[0].keys.tolist())


def test_what_is_used_stays_and_what_is_not_goes() -> None:
    shop = Shop(capacity=1000)
    hot = [f"hot{n}" for n in range(300)]
    shop.read(*hot)
    for step in range(100):
        shop.read(*hot, *(f"cold{step}-{n}" for n in range(40)))
        assert not set(shop.asked) & set(hot)
        assert len(shop.rows) <= 1000
    assert shop.counts["evictions"] == 300 + 4000 - len(shop.rows)
    assert len(shop.rows) > 800


def test_more_candidates_than_room() -> None:
    shop = Shop(capacity=10)
    items = [f"i{n}" for n in range(50)]
    shop.stored = {item: packed(n) for n, item in enumerate(items)}
    for _ in range(3):
        found = shop.read(*items)
        assert prices(found) == list(range(50))
        assert len(shop.rows) == 10
        assert 10 <= np.count_nonzero(found.keys) <= 20  # those that were there, and those that took their place
    assert shop.counts["invalidations"] == 0


def test_memory_bounds_the_rows() -> None:
    assert Shop(capacity=1 << 20, megabytes=1).rows.capacity < (1 << 20) / LAYOUT.width
    assert Shop(capacity=7).rows.capacity == 7


@pytest.mark.parametrize("seed", range(3))
def test_any_order_of_events(seed: int) -> None:
    """Reads give what is stored, and a key names one content for ever, whatever is written, lost or evicted."""
    draw = np.random.default_rng(seed)
    shop = Shop(capacity=60, seconds=0.005)
    items = [f"i{n}" for n in range(100)]
    content: dict[int, tuple[float, bool]] = {}

    def some(largest: int) -> list[str]:
        return [items[n] for n in draw.integers(0, len(items), draw.integers(1, largest))]

    def anything() -> None:
        match draw.integers(0, 12):
            case 0:
                shop.rows.clear()
            case 1:
                shop.rows.distrust()
            case 2 | 3:
                shop.rows.trusted = True
            case 4:
                gone = some(5)
                for item in gone:
                    shop.stored.pop(item, None)
                shop.rows.drop(gone)
            case 5 | 6 | 7:
                shop.set(float(draw.integers(0, 9)), *some(9))
            case 8:
                check()

    def check() -> None:
        asked = some(80)
        before = [shop.stored.get(item) for item in asked]
        found = shop.read(*asked, meanwhile=anything)
        wanted = LAYOUT.decode(before)
        np.testing.assert_array_equal(found.dense, wanted.dense)
        np.testing.assert_array_equal(found.ids, wanted.ids)
        np.testing.assert_array_equal(found.missing, wanted.missing)
        for key, price, absent in zip(found.keys.tolist(), prices(found), found.missing.tolist(), strict=True):
            if key:
                assert content.setdefault(key, (price, absent)) == (price, absent)

    for _ in range(400):
        anything()
        check()
    assert shop.counts["hits"] > 500
    assert shop.counts["evictions"] > 100
    assert len(content) > 100
