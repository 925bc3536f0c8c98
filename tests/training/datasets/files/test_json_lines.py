"""JSON lines: no value is lost or changed, however a column mixes its types; bad lines are set aside."""

import json
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.dictionary import Value, canonical
from contract.errors import DataError
from tests.training.datasets.shop import PATIENT
from training.datasets.files.json_lines import json_names, json_pieces
from training.datasets.files.raw_file import regrouped
from training.datasets.partitions import Chunk
from training.datasets.raw import RawColumn

SCALARS: list[st.SearchStrategy[Value]] = [
    st.integers(-5, 5) | st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([1.0, 2.5, -0.0, 1e-7, 1e22, 2.0**53]),
    st.booleans(),
    st.text(max_size=4) | st.sampled_from(["1", "[", "{}", "-0", "1" * 22]),
]
Cells = list[Value | list[Value]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("json")


@st.composite
def columns(draw: st.DrawFn) -> Cells:
    """Values of one type or of several, and lists of them."""
    scalars = st.one_of(draw(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=2)))
    cells = draw(st.sampled_from([scalars, st.lists(scalars, max_size=3), scalars | st.lists(scalars, max_size=3)]))
    return draw(st.lists(st.none() | cells, min_size=1, max_size=12))


def read(path: Path, size: int = 1 << 20, first: int | None = None) -> Chunk:
    (chunk,) = regrouped(json_pieces(path, json_names(path, first or size), size))
    return chunk


def canonical_cells(column: pl.Series) -> list[object]:
    if column.dtype != pl.List:
        return RawColumn("", column).texts().to_list()
    return [None if cell is None else RawColumn("", cell).texts().to_list() for cell in column]


def as_lists(cells: Cells) -> list[object]:
    """What the contract makes of the values; a single value is a list of one where others are lists."""
    if not any(isinstance(cell, list) for cell in cells):
        return [canonical(cell) for cell in cells if not isinstance(cell, list)]
    lists = [cell if isinstance(cell, list) else None if canonical(cell) is None else [cell] for cell in cells]
    return [None if cell is None else [canonical(value) for value in cell] for cell in lists]


@PATIENT
@given(columns(), st.integers(1, 60), st.booleans())
def test_values_are_canonical(folder: Path, cells: Cells, size: int, ascii_only: bool) -> None:
    path = folder / "x.jsonl"
    lines = (json.dumps({"n": i, "x": cell}, ensure_ascii=ascii_only) for i, cell in enumerate(cells))
    path.write_text("\n".join(lines), "utf-8")
    chunk = read(path, size, 1 << 20)
    assert chunk.frame["n"].to_list() == list(range(len(cells)))
    assert not chunk.rejected
    assert canonical_cells(chunk.frame["x"]) == as_lists(cells)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (b'{"a": }', "not JSON at column 7"),
        (b'{"a": 1} {"a": 2}', "not JSON at column 10: Extra data"),
        (b'{"a": 1', "not JSON"),
        (b"[1]", "not a JSON object"),
        (b"7", "not a JSON object"),
        (b'{"a": NaN}', "NaN is not JSON; write null"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\ud800"}', "surrogate"),
        (b'{"a": {"b": 1}}', "'a' holds an object"),
        (b'{"a": [[1]]}', "'a' holds an object, or lists in a list"),
        (b"[" * 100_000, "not JSON that can be read"),
    ],
)
@pytest.mark.parametrize("size", [8, 1 << 20])
def test_a_bad_line_is_set_aside(tmp_path: Path, bad: bytes, why: str, size: int) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n' + bad + b'\r\n{"a": 2, "b": {"c": 3}}\n \n{"a": 3}')
    (chunk,) = regrouped(json_pieces(path, ["a"], size))
    assert chunk.frame["a"].to_list() == [1, 2, 3]
    assert chunk.rows.tolist() == [1, 3, 4]
    assert chunk.lines is not None
    assert chunk.lines.tolist() == [1, 4, 6]
    ((where, row, line, said, content),) = chunk.rejected
    assert (where, row, line) == (str(path), 2, 3)
    assert why in said
    assert content == bad.decode("utf-8", "replace")[:1_000]


def test_types_that_change_from_block_to_block(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    cells: Cells = [1, 2, 2.5, "x", None, True, [1.0, "y"], []]
    path.write_text("".join(json.dumps({"x": cell}) + "\n" for cell in cells))
    for size in (1, 12, 1 << 20):
        assert canonical_cells(read(path, size).frame["x"]) == as_lists(cells)


def test_names_in_order_of_appearance(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"b": 1}\nbad\n{"a": 1, "b": 2}\n{"c": 1}\n')
    assert json_names(path, 32) == ("b", "a")
    assert json_names(path, 100) == ("b", "a", "c")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "the file is empty"), (b"\n \n", "the file is empty"), (b"[1]\n[2]\n", "no JSON object in the first lines")],
)
def test_a_file_without_objects_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        json_names(path, 1 << 20)


def test_no_line_is_endless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.files.json_lines.LONGEST", 64)
    path = tmp_path / "x.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "' + b"x" * 200)
    with pytest.raises(DataError, match=r"x.jsonl, row 2: a line of more than 64 bytes"):
        list(json_pieces(path, ["a"], 10))
