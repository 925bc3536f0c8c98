"""Dictionaries: round trip, append-only, unseen → 0, damage detected; properties by hypothesis."""

import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.dictionary import Dictionary, Texts, canonical, hash_ids, hash_texts, key_bytes
from contract.errors import DictionaryError

MANY = 70_000  # more than a block
VALUES = st.lists(st.text(min_size=1, max_size=40) | st.text(alphabet="ab\0", min_size=1), max_size=60)


def packed(values: list[str]) -> Texts:
    return Texts.of([key_bytes(value) for value in values])


def peak(texts: Texts) -> int:
    """Bytes that hashing takes at most."""
    tracemalloc.start()
    hash_texts(texts, 1000)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


@settings(deadline=None)
@given(VALUES)
def test_what_is_known_round_trips(values: list[str]) -> None:
    dictionary = Dictionary.build(dict.fromkeys(values, 1))
    ids = dictionary.encode(values)
    assert dictionary.decode(ids) == values
    assert sorted(set(ids.tolist())) == list(range(1, len(set(values)) + 1))


@settings(deadline=None)
@given(VALUES, VALUES)
def test_extension_appends_and_renumbers_nothing(first: list[str], second: list[str]) -> None:
    old = Dictionary.build(dict.fromkeys(first, 1))
    new = old.extended(second)
    assert (new.encode(first) == old.encode(first)).all()
    assert new.decode(new.encode(second)) == second
    assert len(new) == len(set(first) | set(second))
    assert new.lineage == old.lineage


@settings(deadline=None)
@given(VALUES, st.text(min_size=1))
def test_unseen_is_zero(values: list[str], other: str) -> None:
    dictionary = Dictionary.build(dict.fromkeys(values, 1))
    assert (dictionary.encode([other])[0] == 0) == (other not in values)
    assert dictionary.encode([None, "", float("nan")]).tolist() == [0, 0, 0]


def test_frequent_values_come_first_and_rare_ones_not_at_all() -> None:
    dictionary = Dictionary.build({"rare": 1, "b": 5, "a": 5, "most": 9}, min_count=2)
    assert dictionary.decode([1, 2, 3]) == ["most", "a", "b"]
    assert dictionary.encode(["rare"]).tolist() == [0]


def test_hash_collisions_are_told_apart_by_their_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("contract.hashing.mix", np.zeros_like)
    dictionary = Dictionary.build({"a": 3, "b": 2, "c": 1})
    assert dictionary.encode(["c", "a", "b", "d"]).tolist() == [3, 1, 2, 0]


@pytest.mark.parametrize(("kept", "planted"), [(0, 0), (0, 2**64 - 1), (3 << 62, 0), (2**64 - 4, 0)])
def test_collisions_of_many_values_are_told_apart_too(monkeypatch: pytest.MonkeyPatch, kept: int, planted: int) -> None:
    monkeypatch.setattr("contract.hashing.mix", lambda x: x & np.uint64(kept) | np.uint64(planted))
    monkeypatch.setattr("contract.texts.FEW", 10)
    monkeypatch.setattr("contract.dictionary._SEARCHED", 10)
    assert Dictionary.ordered(packed(["ab", "c" * 20])).encode(["a", "abc", "ab\0", "c" * 19]).tolist() == [0, 0, 0, 0]
    values = [f"{'x' * (i % 40)}{i}" for i in range(300)]
    dictionary = Dictionary.ordered(packed(values[::2]))
    expected = [i // 2 + 1 if i % 2 == 0 else 0 for i in range(300)]
    assert dictionary.encode_texts(packed(values)).tolist() == expected
    longer = dictionary.extended_by(packed(values + values[::-1]))
    assert longer.decode(range(1, longer.size)) == values[::2] + values[1::2]


@settings(deadline=None)
@given(VALUES, VALUES, VALUES)
def test_texts_are_known_as_their_values_are(first: list[str], second: list[str], asked: list[str]) -> None:
    built = Dictionary.build({value: len(first) - i for i, value in enumerate(dict.fromkeys(first))})
    ordered = Dictionary.ordered(packed(list(dict.fromkeys(first))))
    assert ordered.lineage == built.lineage
    extended = ordered.extended_by(packed(["", *second, ""]))
    assert extended.lineage == built.lineage
    assert extended.decode(range(extended.size)) == built.extended(second).decode(range(extended.size))
    assert extended.encode_texts(packed([*asked, ""])).tolist() == extended.encode([*asked, ""]).tolist()
    assert hash_texts(packed([*asked, ""]), 7).tolist() == hash_ids([*asked, ""], 7).tolist()
    assert extended.texts.data.tobytes() == b"".join(dict.fromkeys(map(key_bytes, first + second)))


def test_lineages_are_what_they_were() -> None:
    # literal values: data sets of an earlier release must stay known
    assert Dictionary.build({"a": 3, "ü": 2, "x" * 300: 1}).lineage == "b9d92814dbb805f6"
    assert Dictionary.ordered(packed(["a", "ü", "x" * 300])).lineage == "b9d92814dbb805f6"
    assert Dictionary.ordered(packed([])).lineage == Dictionary.build({}).lineage == "af5570f5a1810b7a"


def test_texts_of_all_lengths_in_several_blocks() -> None:
    values = [str(i) + "ü" * (i % 63) for i in range(MANY)]
    assert {len(key_bytes(value)) for value in values} >= {*range(20, 129)}
    dictionary = Dictionary.ordered(packed(values))
    assert (dictionary.encode_texts(packed(values)) == np.arange(1, MANY + 1)).all()
    singly = [dictionary.encode([value])[0] for value in values[:: MANY // 300]]
    assert singly == list(range(1, MANY + 1, MANY // 300))
    assert (dictionary.encode_texts(packed([value + "?" for value in values])) == 0).all()
    some = values[:: MANY // 2000]
    assert hash_texts(packed(values), 10**9)[:: MANY // 2000].tolist() == [hash_ids([v], 10**9)[0] for v in some]


def test_one_long_value_among_short_ones_costs_little() -> None:
    short, mixed = packed([str(i) for i in range(MANY)]), packed([str(i) for i in range(MANY)] + ["x" * 128])
    assert peak(mixed) < 1.5 * peak(short)


def test_equal_and_empty_keys_are_given_one_id_and_none() -> None:
    dictionary = Dictionary.ordered(packed(["b", "", "a", "b", "a", "c"]))
    assert dictionary.decode([1, 2, 3]) == ["b", "a", "c"]
    assert len(dictionary) == 3
    assert dictionary.lineage == Dictionary.ordered(packed(["b", "a", "c"])).lineage


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    dictionary = Dictionary.build({"ä": 1, "x" * 500: 2, "nul\0": 3})
    dictionary.save(tmp_path / "d.npz")
    loaded = Dictionary.load(tmp_path / "d.npz")
    assert loaded.encode(["ä", "x" * 500, "x" * 501, "nul\0", "nul"]).tolist() == [3, 2, 0, 1, 0]
    assert loaded.lineage == dictionary.lineage


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", None])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "city.npz"
    Dictionary.build({"a": 1}).save(path)
    if damage is None:
        np.savez(path, text=np.zeros(3, np.uint8), offsets=np.array([0, 7]), lineage=np.array("x"))
    else:
        path.write_bytes(damage)
    with pytest.raises(DictionaryError, match=r"city\.npz.*prepare the data again"):
        Dictionary.load(path)


@pytest.mark.parametrize(
    ("value", "text"),
    [(42, "42"), (42.0, "42"), ("42", "42"), (0.5, "0.5"), (True, "true"), ("007", "007"), (None, None), ("", None)],
)
def test_one_text_form_whatever_the_file_format(value: str | float | None, text: str | None) -> None:
    assert canonical(value) == text


def test_hash_ids_are_stable_and_in_range() -> None:
    # literal values: another release or machine must give the same ids
    assert hash_ids(["u1", "42", "ü", None, "a" * 300], 1000).tolist() == [499, 938, 569, 0, 702]
    ids = hash_ids(map(str, range(20_000)), 100)
    counts = np.bincount(ids, minlength=101)
    assert counts[0] == 0
    assert counts[1:].min() > 130  # 200 expected, sd 14
    assert counts[1:].max() < 270


def test_a_million_values_take_seconds_and_tens_of_bytes() -> None:
    values = [f"user-{i}" for i in range(1_000_000)]
    start = time.monotonic()
    dictionary = Dictionary.build(dict.fromkeys(values, 1))
    ids = dictionary.encode(values)
    assert time.monotonic() - start < 60  # about 3.5 s on one quiet core; guards against a per-value loop gone wrong
    assert len(np.unique(ids)) == 1_000_000
    assert dictionary.nbytes < 40 * 1_000_000
