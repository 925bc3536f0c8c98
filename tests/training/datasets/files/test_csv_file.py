"""CSV: whatever the blocks, the same rows; unsound rows are set aside with their place, and nothing else."""

import csv
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.errors import DataError
from tests.training.datasets.shop import PATIENT
from training.datasets.files.csv_file import csv_names, csv_pieces
from training.datasets.files.csv_rows import Place, sound_rows
from training.datasets.files.raw_file import regrouped
from training.datasets.partitions import Chunk, Rejected

LETTERS = st.sampled_from([b"a", b"b", b",", b",", b'"', b"\n", b"\n", b"\r\n", b"\r", "é".encode(), b"\xff"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csv")


def read(path: Path, size: int = 1 << 20) -> Chunk:
    names = csv_names(path)
    (chunk,) = regrouped(csv_pieces(path, names, size))
    return chunk


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def known(chunk: Chunk) -> tuple[list[tuple[str | None, ...]], list[int], list[int], list[tuple[int, int | None]]]:
    assert chunk.lines is not None
    places = [(row.row, row.line) for row in chunk.rejected]
    return chunk.frame.rows(), chunk.rows.tolist(), chunk.lines.tolist(), places


@PATIENT
@given(
    st.lists(st.tuples(*[st.text('a,"\né', max_size=4)] * 3), min_size=1, max_size=20),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.integers(1, 64),
)
def test_rows_come_back(folder: Path, rows: list[tuple[str, ...]], end: str, quoting: int, size: int) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=quoting).writerows([("x", "y", "z"), *rows])  # type: ignore[arg-type]
    chunk = read(written(folder / "x.csv", text.getvalue().encode()), size)
    assert chunk.frame.rows() == [tuple(cell or None for cell in row) for row in rows]
    assert chunk.rows.tolist() == list(range(1, len(rows) + 1))
    starts = 2 + np.cumsum([0, *(1 + "".join(row).count("\n") for row in rows)])
    assert chunk.lines is not None
    assert chunk.lines.tolist() == starts[:-1].tolist()
    assert not chunk.rejected


@PATIENT
@given(st.lists(LETTERS, min_size=1, max_size=60).map(b"".join), st.integers(1, 40))
def test_blocks_change_nothing(folder: Path, content: bytes, size: int) -> None:
    path = written(folder / "x.csv", b"x,y\n" + content)
    assert known(read(path, size)) == known(read(path))


@PATIENT
@given(st.lists(LETTERS, min_size=1, max_size=60).map(b"".join))
def test_every_byte_is_in_a_row_or_rejected(content: bytes) -> None:
    rows = sound_rows("x", content + b"\n", 2, Place(1, 1), True)
    assert rows.taken == len(content) + 1
    assert sorted([*rows.rows.tolist(), *(row.row for row in rows.rejected)]) == list(range(1, rows.next.row))
    assert rows.next.line == 1 + (content + b"\n").count(b"\n")


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b"3", "1 cells where the header has 2"),
        (b"3,4,5", "3 cells"),
        (b"", "0 cells"),
        (b"\xff,4", "not UTF-8"),
        (b'"3,4', "a quotation mark is never closed"),
        (b'3,"4', "a quotation mark is never closed"),
        (b'"3"x,4', "or text follows the closing one"),
    ],
)
@pytest.mark.parametrize("size", [5, 1 << 20])
def test_a_bad_row_is_set_aside(tmp_path: Path, bad: bytes, why: str, size: int) -> None:
    path = written(tmp_path / "x.csv", b'x,y\n"1\n1",2\n' + bad + b"\n5,6\n7,8\n")
    chunk = read(path, size)
    assert chunk.frame.rows() == [("1\n1", "2"), ("5", "6"), ("7", "8")]
    assert chunk.rows.tolist() == [1, 3, 4]
    assert chunk.lines is not None
    assert chunk.lines.tolist() == [2, 5, 6]
    assert [(row.where, row.row, row.line) for row in chunk.rejected] == [(str(path), 2, 4)]
    assert why in chunk.rejected[0].why
    assert chunk.rejected[0].content == bad.decode("utf-8", "replace")


def test_a_rejected_row_is_shown_in_part(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", b"x,y\n" + "é".encode() * 5_000 + b"\n1,2\n")
    assert read(path).rejected[0].content == "é" * 1_000


def test_a_mark_inside_a_cell_is_a_letter(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", b'x,y\n5" pipe,a"b"\r\n1,2\n')
    assert read(path).frame.rows() == [('5" pipe', 'a"b"'), ("1", "2")]


def test_a_mark_that_is_not_closed_for_long_costs_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.files.csv_rows.LONGEST", 64)
    path = written(tmp_path / "x.csv", b'x,y\n"1,2\n' + b"3,4\n" * 100)
    chunk = read(path, 10)
    assert len(chunk.frame) == 100
    assert [row.row for row in chunk.rejected] == [1]


def test_no_row_is_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("csv_file", "csv_rows"):
        monkeypatch.setattr(f"training.datasets.files.{module}.LONGEST", 64)
    path = written(tmp_path / "x.csv", b"x,y\n1,2\n" + b"3" * 1_000)
    with pytest.raises(DataError, match=r"x.csv, row 2: a row of more than 64 bytes"):
        read(path, 10)


def test_a_header_of_two_lines(tmp_path: Path) -> None:
    chunk = read(written(tmp_path / "x.csv", b'\xef\xbb\xbf"x\nx","q""q"\r\n1,2\r\n'), 3)
    assert chunk.frame.equals(pl.DataFrame({"x\nx": ["1"], 'q"q': ["2"]}))
    assert chunk.lines is not None
    assert chunk.lines.tolist() == [3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf", "the file is empty"),
        (b"\n1\n", "the file is empty"),
        (b"x,x\n", "column 'x' appears twice"),
        (b"x,y\r1,2\r", "a carriage return alone"),
        (b"x\ty\n", r"separated by '\\t'"),
        (b'"x,y\n1,2\n', "header's quotation marks are unsound"),
        ("é,y\n1,2\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_an_unsound_header_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        csv_names(written(tmp_path / "x.csv", content))


def test_rejected_rows_stay_in_order(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", b"x,y\n" + b"1,2\nbad\n" * 10 + b"bad\n")
    chunks = list(regrouped(csv_pieces(path, ("x",), 8), 4))
    assert [len(chunk.frame) for chunk in chunks] == [4, 4, 2]
    rejected: list[Rejected] = [row for chunk in chunks for row in chunk.rejected]
    assert [row.row for row in rejected] == [*range(2, 21, 2), 21]
    assert [row for chunk in chunks for row in chunk.rows.tolist()] == list(range(1, 20, 2))
