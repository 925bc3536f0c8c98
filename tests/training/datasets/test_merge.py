"""Merging: the order of Dictionary.build and of appearance, whatever the files, their order and the partitions."""

from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.dictionary import Dictionary
from training.datasets.merge import SCHEMA, in_order_of_appearance, merged, vocabulary
from training.datasets.texts import packed

VALUE = st.sampled_from([*"abcdefgh", "ä", "日本", "x" * 127, "x" * 128, "x" * 129, "y" * 500, "10", "9"]) | st.text(
    st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3
)
TABLE = st.lists(VALUE, min_size=1, max_size=60)


def written(folder: Path, table: Sequence[str], rows: int) -> list[Path]:
    """What a chunk of `rows` rows finds, a file each."""
    files = []
    for start in range(0, len(table), rows):
        chunk = pl.DataFrame({"value": table[start : start + rows]}).with_row_index("first", start)
        found = chunk.group_by("value").agg(pl.len().alias("count"), pl.col("first").min())
        files.append(folder / f"{start}.parquet")
        found.select(pl.col(name).cast(kind) for name, kind in SCHEMA.items()).write_parquet(files[-1])
    return files


@settings(deadline=None, max_examples=40)
@given(TABLE, st.integers(1, 4), st.integers(1, 20), st.sampled_from([1, 3, 10, 1000]), st.booleans())
def test_orders_are_those_of_one_pass_in_memory(
    table: list[str], min_count: int, rows: int, most: int, backwards: bool
) -> None:
    with TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        files = written(Path(folder), table, rows)[:: -1 if backwards else 1]
        frequent = Dictionary.ordered(vocabulary(files, min_count, work, most))
        expected = Dictionary.build(Counter(table), min_count)
        assert frequent.decode(range(1, frequent.size)) == expected.decode(range(1, expected.size))
        assert frequent.lineage == expected.lineage
        appeared = in_order_of_appearance(files, work, most)
        assert appeared.data.tobytes() == "".join(dict.fromkeys(table)).encode()  # row keys stay whole
        assert not work.exists() or not any(work.iterdir())


def test_counts_are_summed_and_the_first_place_is_kept(tmp_path: Path) -> None:
    files = written(tmp_path, list("abracadabra"), 3)
    for most in (2, 1000):
        frame = pl.concat(merged(files, tmp_path / "work", most)).sort("first")
        assert frame.rows() == [("a", 5, 0), ("b", 2, 1), ("r", 2, 2), ("c", 1, 4), ("d", 1, 6)]


def test_partitions_hold_about_as_many_rows_as_asked(tmp_path: Path) -> None:
    files = written(tmp_path, [f"v{i}" for i in range(10_000)], 1000)
    sizes = [len(frame) for frame in merged(files, tmp_path / "work", 1000)]
    assert len(sizes) == 10
    assert sum(sizes) == 10_000
    assert max(sizes) < 1300


def test_no_files_and_empty_files_have_no_values(tmp_path: Path) -> None:
    empty = tmp_path / "empty.parquet"
    pl.DataFrame(schema=SCHEMA).write_parquet(empty)
    for files in ([], [empty], [empty, empty]):
        assert vocabulary(files, 1, tmp_path).size == 0
        assert in_order_of_appearance(files, tmp_path).size == 0


def test_what_an_ended_run_left_is_not_read(tmp_path: Path) -> None:
    files = written(tmp_path, list("abcabcab"), 2)
    work = tmp_path / "work"
    run = merged(files, work, 2)
    assert isinstance(run, Generator)
    next(run)
    left = [path.relative_to(work) for path in work.rglob("*.parquet")]
    copies = {path: (work / path).read_bytes() for path in left}
    run.close()
    assert left
    assert not any(work.iterdir())
    for path, content in copies.items():  # as after kill -9
        (work / path).parent.mkdir(exist_ok=True)
        (work / path).write_bytes(content[:10])
    assert vocabulary(files, 1, work, 2).data.tobytes() == b"abc"


@pytest.mark.parametrize("most", [1, 1000])
def test_equal_places_and_counts_are_ordered_by_bytes(tmp_path: Path, most: int) -> None:
    values = ["z", "é", "\U0001f600", "\uffff", "a"]
    pl.DataFrame({"value": values, "count": 1, "first": 0}, schema=SCHEMA).write_parquet(tmp_path / "0.parquet")
    ordered = packed(pl.Series(sorted(values, key=str.encode)))
    files = [tmp_path / "0.parquet"]
    assert vocabulary(files, 1, tmp_path, most).data.tobytes() == ordered.data.tobytes()
    assert in_order_of_appearance(files, tmp_path, most).data.tobytes() == ordered.data.tobytes()
