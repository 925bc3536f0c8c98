"""Raw files: every variant reads alike, and every unsound file is named with its row."""

import gzip
from pathlib import Path

import polars as pl
import pytest

from contract.errors import DataError
from training.datasets.raw_file import read_table


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"a,b\n", "has no rows"),
        (b"a,b\n1,2\n3\n4,5\n", r"row 2 \(line 3\): 1 cells where the header has 2"),
        (b"a,b\n1,2\n3,4,5\n", r"row 2 \(line 3\): 3 cells"),
        (b"a,b\n1,2\n\n3,4\n", r"row 2 \(line 3\): 0 cells"),
        (b'a,b\n"x,1\ny",2\n"z",3,4\n', r"row 2 \(line 4\): 3 cells"),
        (b'a,b\n1,"2\n3,4\n', r"row 1 \(line 2\): a quotation mark is never closed"),
        (b"a,a\n1,2\n", "column 'a' appears twice"),
        (b"a;b\n1;2\n", "separated by ';'"),
        (b"a,b\n\xff,2\n", r"row 1 \(line 2\): not UTF-8 text"),
        (b"\xff\xfea\0", "not UTF-8"),
    ],
)
def test_an_unsound_csv_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.csv"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_table(path)


def test_rows_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.raw_file.BLOCK", 7)
    path = tmp_path / "x.csv"
    path.write_text('a,b\n"1,1\n1",2\r\n"q""q",4\n5,66666666666666')
    assert read_table(path).frame.rows() == [("1,1\n1", "2"), ('q"q', "4"), ("5", "66666666666666")]
    path.write_text("a,b\n1,2\n3333333333333\n4,5\n")
    with pytest.raises(DataError, match=r"row 2 \(line 3\): 1 cells"):
        read_table(path)


def test_csv_variants_read_alike(tmp_path: Path) -> None:
    plain, packed = tmp_path / "x.csv", tmp_path / "x.csv.gz"
    plain.write_bytes(b"\xef\xbb\xbfa,b\r\n007,\r\n,x\r\n")
    packed.write_bytes(gzip.compress(b"a,b\n007,\n,x\n"))
    assert read_table(plain).frame.rows() == read_table(packed).frame.rows() == [("007", None), (None, "x")]
    assert read_table(plain, {"b", "c"}).names == ("a", "b")
    assert read_table(plain, {"b"}).frame.columns == ["b"]
    assert len(read_table(plain, set())) == 2
    plain.write_text('"q""q","x,y"\n1,2\n')
    assert read_table(plain).frame.columns == ['q"q', "x,y"]


def test_parquet_keeps_its_types(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [1, 2], "l": [["a"], []]})
    frame.write_parquet(tmp_path / "x.parquet")
    assert read_table(tmp_path / "x.parquet").frame.equals(frame)
    assert len(read_table(tmp_path / "x.parquet", set())) == 2


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.csv", None, "no such file"),
        ("x.json", b"{}", "unknown kind of file"),
        ("x.parquet", b"PAR", "cannot be read"),
        ("x.csv.gz", b"not gzip", "cannot be read"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, name: str, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}: {message}"):
        read_table(tmp_path / name)
