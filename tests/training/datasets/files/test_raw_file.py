"""Raw files: every variant reads alike, and every unsound file is named with its row."""

import gzip
import json
import pickle
from pathlib import Path

import polars as pl
import pytest
import zstandard

from contract.errors import DataError
from training.datasets.files.raw_file import read_table, regrouped, table_of
from training.datasets.files.raw_folder import SUFFIXES


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
    monkeypatch.setattr("training.datasets.files.raw_file.BLOCK", 7)
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


ROWS = [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}, {"a": "3", "b": "z"}]


def pack(path: Path, content: bytes) -> None:
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor(write_checksum=True).compress}.get(
        path.suffix, bytes
    )
    path.write_bytes(pack(content))


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".parquet"])
def test_all_texts_read_alike(tmp_path: Path, suffix: str) -> None:
    lines = ["a,b", "1,x", "2,y", "3,z"] if "csv" in suffix else [json.dumps(row) for row in ROWS]
    pack(tmp_path / f"t{suffix}", "\n".join(lines).encode())
    assert read_table(tmp_path / f"t{suffix}").frame.equals(pl.DataFrame(ROWS))
    assert read_table(tmp_path / f"t{suffix}", {"b"}, rows=2).frame.equals(pl.DataFrame(ROWS)[["b"]][:2])


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_stream_that_is_cut_short_is_never_whole(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.csv{suffix}"
    pack(path, b"a,b\n" + b"".join(b"%d,x\n" % n for n in range(2_000)))
    whole = path.read_bytes()
    assert len(read_table(path)) == 2_000
    for end in (*range(1, 12), *range(len(whole) - 12, len(whole))):
        path.write_bytes(whole[:end])
        with pytest.raises(
            DataError, match=rf"t.csv{suffix}: cannot be read: ends in the middle of its {suffix} stream"
        ):
            read_table(path)
    path.write_bytes(whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
    with pytest.raises(DataError, match="cannot be read: damaged"):
        read_table(path)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_stream_of_several_parts_is_read_to_its_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"t.csv{suffix}"
    pack(path, b"a,b\n1,x\n2")
    first = path.read_bytes()
    pack(path, b",y\n3,z\n")
    path.write_bytes(first + path.read_bytes() + (b"\0" * 512 if suffix == ".gz" else b""))
    assert read_table(path).frame.equals(pl.DataFrame(ROWS))
    path.write_bytes(first + b"rest")
    with pytest.raises(DataError, match="cannot be read"):
        read_table(path)


def test_a_folder_is_a_table(tmp_path: Path) -> None:
    """Partition keys are columns; files come in the order of their paths; each has the columns of all."""
    for day, name in (("2026-01-02", "b"), ("2026-01-01", "a"), ("__HIVE_DEFAULT_PARTITION__", "c")):
        folder = tmp_path / f"day={day}" / "shop=a%2Fb"
        folder.mkdir(parents=True)
        pl.DataFrame({"x": [name]}).write_parquet(folder / "part-0.parquet")
    (tmp_path / "day=2026-01-02" / "more.jsonl").write_text('{"x": 7, "y": [1, 2]}\n')
    for hidden in ("_SUCCESS", ".part-0.parquet.crc", "day=2026-01-01/_metadata"):
        (tmp_path / hidden).write_text("no table")
    table = read_table(tmp_path)
    assert set(table.names) == {"x", "y", "day", "shop"}
    assert table.frame.select("x", "y", "day", "shop").rows() == [
        ("a", None, "2026-01-01", "a/b"),
        ("7", [1, 2], "2026-01-02", None),
        ("b", None, "2026-01-02", "a/b"),
        ("c", None, None, "a/b"),
    ]
    assert read_table(tmp_path, {"day"}).frame.columns == ["day"]
    assert [part.identity.split(":")[0] for part in table_of(tmp_path).partitions] == [
        "day=2026-01-01/shop=a%2Fb/part-0.parquet",
        "day=2026-01-02/more.jsonl",
        "day=2026-01-02/shop=a%2Fb/part-0.parquet",
        "day=__HIVE_DEFAULT_PARTITION__/shop=a%2Fb/part-0.parquet",
    ]


def test_csv_files_of_a_folder_have_one_header(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("a,b\n1,x\n")
    (tmp_path / "2.csv").write_text("b,a\ny,2\n")
    (tmp_path / "3.csv").write_text("a,b\n")
    assert read_table(tmp_path).frame.rows() == [("1", "x"), ("2", "y")]
    (tmp_path / "3.csv").write_text("a,c\n3,z\n")
    with pytest.raises(DataError, match=r"3.csv: column 'b' is in its header or in that of .*1.csv, not in both"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "holds no files"),
        (["_SUCCESS"], "holds no files"),
        (["a.csv", "notes.txt"], "notes.txt: unknown kind of file"),
        (["a.csv", "a.csv.gz"], "both a.csv and a.csv.gz; they seem to be one file twice"),
        (["_delta_log/0.json", "a.csv"], "a Delta Lake table"),
    ],
)
def test_an_unclear_folder_is_refused(tmp_path: Path, files: list[str], message: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("a\n1\n")
    with pytest.raises(DataError, match=message):
        table_of(tmp_path)


def test_chunks_are_full_and_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.files.raw_file.BLOCK", 50)
    monkeypatch.setattr("training.datasets.files.parquet_file.CHUNK", 3)
    frame = pl.DataFrame({"a": [str(n) for n in range(100)], "b": ["x"] * 100})
    frame.write_csv(tmp_path / "t.csv")
    frame.write_ndjson(tmp_path / "t.jsonl")
    frame.write_parquet(tmp_path / "t.parquet", row_group_size=7)
    for suffix in ("csv", "jsonl", "parquet"):
        (partition,) = table_of(tmp_path / f"t.{suffix}").partitions
        copy = pickle.loads(pickle.dumps(partition))
        assert copy.identity == partition.identity
        chunks = list(regrouped(copy.pieces(), 30))
        assert [len(chunk.frame) for chunk in chunks] == [30, 30, 30, 10]
        assert pl.concat([chunk.frame for chunk in chunks]).equals(frame)
        assert [row for chunk in chunks for row in chunk.rows] == list(range(1, 101))


def test_identity_follows_the_file(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("a\n1\n")
    before = table_of(path).partitions[0].identity
    path.write_text("a\n11\n")
    assert table_of(path).partitions[0].identity != before


def test_parquet_types_that_are_no_plain_values(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    decimal = pl.Series("d", ["1.50", "2.25"]).str.to_decimal(scale=2)
    whole = pl.Series("w", [10**20, 5]).cast(pl.Decimal(38, 0))
    category = pl.Series("c", ["x", "y"], pl.Categorical)
    pl.DataFrame([decimal, whole, category, pl.Series("s", [{"k": 1}, {"k": 2}])]).write_parquet(path)
    table = read_table(path, {"d", "w", "c"})
    texts = [table.column(name, "test").texts().to_list() for name in ("d", "w", "c")]
    assert texts == [["1.5", "2.25"], [str(10**20), "5"], ["x", "y"]]
    with pytest.raises(DataError, match="column 's' holds Struct"):
        read_table(path, {"s"})
    assert read_table(path).frame.columns == ["d", "w", "c"]


def test_too_many_bad_rows_are_no_accident(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.files.raw_file.MOST_REJECTED", 10)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n" + "bad\n" * 11)
    with pytest.raises(DataError, match=r"row 2 \(line 3\): 1 cells .*; 10 rows after it cannot be parsed either"):
        list(table_of(tmp_path / "t.csv").partitions[0].chunks())


def test_nulls_alone_are_texts(tmp_path: Path) -> None:
    (tmp_path / "1.jsonl").write_text('{"a": 1, "b": null}\n')
    (tmp_path / "2.jsonl").write_text('{"a": 1, "c": [1]}\n')
    chunks = [chunk for partition in table_of(tmp_path).partitions for chunk in partition.chunks()]
    assert [chunk.frame.dtypes for chunk in chunks] == [
        [pl.Int64, pl.String, pl.String],
        [pl.Int64, pl.String, pl.List(pl.Int64)],
    ]


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"a": []}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t.parquet: has no rows"):
        list(table_of(tmp_path / "t.parquet").partitions[0].chunks())


def test_a_parquet_file_may_lack_a_feature_but_no_label(tmp_path: Path) -> None:
    folder = tmp_path / "interactions"
    folder.mkdir()
    pl.DataFrame({"click": [1], "query": ["a"]}).write_parquet(folder / "a.parquet")
    pl.DataFrame({"click": [0, 1]}).write_parquet(folder / "b.parquet")
    chunks = [chunk for part in table_of(folder, None, {"click"}).partitions for chunk in part.chunks()]
    assert [dict(chunk.notes) for chunk in chunks] == [{}, {"rows of files without column 'query'": 2}]
    with pytest.raises(DataError, match=r"b\.parquet: no column 'query', which every row needs"):
        table_of(folder, None, {"click", "query"})
