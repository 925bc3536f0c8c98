"""Bad rows: named, counted, listed, left out; nothing else gives way."""

import gzip
import json
from pathlib import Path

import polars as pl
import pytest
import zstandard

from contract.errors import DataError
from tests.training.datasets.preparation.logs import contents, cut_chunks, prepared, write_files, write_shop_files
from tests.training.datasets.shop import ROWS, SCHEMA, interactions, users, write_shop
from training.datasets.pipeline import Options
from training.datasets.prepared import Prepared

BAD = {
    "text": (90, "u3,002"),
    "quote": (140, 'u3,002,"1767225600'),
    "label": (41, None),
    "time": (222, None),
    "key": (301, None),
}
CELLS = {"label": ("click", "2"), "time": ("timestamp", "noon"), "key": ("item_id", "")}
WHY = {
    "text": "2 cells where the header has 8; mend the row",
    "quote": "a quotation mark is never closed, or text follows the closing one; double the marks inside a cell",
    "label": "column 'click': the label is '2'; a binary label is 0 or 1",
    "time": "column 'timestamp': 'noon' is not a time; use ISO 8601 (2026-01-31T12:00:00Z) or epoch numbers",
    "key": "column 'item_id': the id is missing; every row needs one",
}


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_chunks(monkeypatch, 50)


def spoilt(tmp_path: Path, *kinds: str) -> Path:
    """The shop with bad rows of these kinds in its log."""
    raw = write_shop(tmp_path / "raw")
    lines = (raw / "interactions.csv").read_text().splitlines()
    header = lines[0].split(",")
    for kind in kinds:
        row, text = BAD[kind]
        cells = lines[row].split(",")
        if text is None:
            column, value = CELLS[kind]
            cells[header.index(column)] = value
        lines[row] = text or ",".join(cells)
    (raw / "interactions.csv").write_text("\n".join(lines) + "\n")
    return raw


def clean(tmp_path: Path, *kinds: str) -> Prepared:
    """The same without these rows."""
    rows = [BAD[kind][0] - 1 for kind in kinds]
    frame = interactions().with_row_index().filter(~pl.col("index").is_in(rows)).drop("index")
    return prepared(write_shop(tmp_path / "clean", interactions=frame), tmp_path / "expected")


@pytest.mark.parametrize("kind", BAD)
def test_the_first_bad_row_ends_the_run(tmp_path: Path, kind: str) -> None:
    raw, row = spoilt(tmp_path, kind), BAD[kind][0]
    with pytest.raises(DataError) as caught:
        prepared(raw, tmp_path / "out")
    told = str(caught.value)
    assert told.startswith(f"{raw}/interactions.csv")
    assert f"row {row} (line {row + 1}): " in told
    assert WHY[kind].partition(": ")[2] in told
    assert sorted(path.name for path in tmp_path.iterdir()) == ["raw"]


def test_as_many_as_are_allowed_are_left_out(tmp_path: Path) -> None:
    raw = spoilt(tmp_path, *BAD)
    data = prepared(raw, tmp_path / "out", Options(skip=5))
    assert data.description.rejected == 5
    listed = [json.loads(line) for line in (data.path / "rejected.jsonl").read_text().splitlines()]
    expected = sorted((row, WHY[kind]) for kind, (row, _) in BAD.items())
    assert [(bad["row"], bad["why"]) for bad in listed] == expected
    assert all(bad["where"] == f"{raw}/interactions.csv" and bad["line"] == bad["row"] + 1 for bad in listed)
    assert listed[1]["content"] == "u3,002"
    assert "'click': '2'" in listed[0]["content"]
    ours, theirs = contents(data), contents(clean(tmp_path, *BAD))
    assert ours.pop("rejected.jsonl")
    assert ours.pop("prepared.json") == {**theirs.pop("prepared.json"), "rejected": 5}  # type: ignore[dict-item]
    assert ours == theirs


def test_one_more_ends_the_run(tmp_path: Path) -> None:
    told = r"row 301 \(line 302\): .*the id is missing.*; that is bad row 5 where --skip-bad allows 4: mend the file"
    with pytest.raises(DataError, match=told):
        prepared(spoilt(tmp_path, *BAD), tmp_path / "out", Options(skip=4))


def test_what_was_read_stays_where_it_was_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also the chunks before the bad row: the next run may skip it."""
    monkeypatch.setattr("training.datasets.pipeline.CHUNK", 200)
    raw = spoilt(tmp_path, "key")
    with pytest.raises(DataError, match="row 301"):
        prepared(raw, tmp_path / "out")
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("out.unfinished/coded/*/*/facts.json")}
    assert len(before) == 6
    with monkeypatch.context() as broken:
        broken.setattr("training.datasets.pipeline.replace_folder", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            prepared(raw, tmp_path / "out", Options(skip=1))
    after = {file: file.stat().st_mtime_ns for file in tmp_path.glob("out.unfinished/coded/*/*/facts.json")}
    assert before.items() <= after.items()
    with pytest.raises(DataError, match="row 301"):  # what was skipped is known to whoever skips none
        prepared(raw, tmp_path / "out")
    assert prepared(raw, tmp_path / "out", Options(skip=1)).description.rejected == 1


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_several_faults_of_a_row_are_one_bad_row(tmp_path: Path) -> None:
    frame = interactions().with_columns(pl.col("click", "timestamp").cast(pl.String))
    frame[6, "click"], frame[6, "timestamp"] = "yes", "noon"
    data = prepared(write_shop(tmp_path / "raw", interactions=frame), tmp_path / "out", Options(skip=1))
    (bad,) = [json.loads(line) for line in (data.path / "rejected.jsonl").read_text().splitlines()]
    assert (bad["row"], bad["why"][:19]) == (7, "column 'timestamp':")


def test_bad_rows_of_side_tables_count_as_well(tmp_path: Path) -> None:
    known = users().with_columns(pl.col("age").cast(pl.String))
    known[3, "age"] = "old"
    again = pl.concat([known, known[1:2]])
    raw = spoilt(tmp_path, "label")
    again.write_csv(raw / "users.csv")
    data = prepared(raw, tmp_path / "out", Options(skip=3))
    listed = [json.loads(line) for line in (data.path / "rejected.jsonl").read_text().splitlines()]
    assert [(Path(bad["where"]).name, bad["row"]) for bad in listed] == [
        ("interactions.csv", 41), ("users.csv", 4), ("users.csv", 32),
    ]  # fmt: skip
    assert "'u1' appeared before" in listed[2]["why"]
    assert data.description.users == 40 + 1  # u3 is of the log, too


def test_json_that_cannot_be_read(tmp_path: Path) -> None:
    raw = write_shop(tmp_path / "raw", interactions=None)
    lines = interactions().write_ndjson().splitlines()
    lines[70] = '{"user_id": '
    (raw / "interactions.jsonl").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"interactions.jsonl, row 71 \(line 71\): not JSON at column 13"):
        prepared(raw, tmp_path / "out")
    data = prepared(raw, tmp_path / "out", Options(skip=1))
    (bad,) = [json.loads(line) for line in (data.path / "rejected.jsonl").read_text().splitlines()]
    assert (bad["row"], bad["line"], bad["content"]) == (71, 71, '{"user_id": ')
    assert sum(data.description.rows.values()) == ROWS - 1


def test_wrong_weights_can_be_skipped(tmp_path: Path) -> None:
    known = users().with_columns(loads=pl.col("tags").str.replace_all("t", ""))
    known[1, "loads"] = "0|x"
    known[2, "loads"] = "1"
    raw = write_shop(
        tmp_path / "raw", users=known, schema=SCHEMA.replace("max_length: 3", "max_length: 3, weights: loads")
    )
    data = prepared(raw, tmp_path / "out", Options(skip=2))
    listed = [json.loads(line)["why"] for line in (data.path / "rejected.jsonl").read_text().splitlines()]
    assert listed == [
        "column 'loads': '0|x' holds a weight that is no finite number",
        "column 'loads': '1' is not one weight for each value",
    ]


def test_an_id_in_two_files_names_both(tmp_path: Path) -> None:
    raw = write_shop_files(tmp_path / "raw", 2)
    users()[:1].write_csv(raw / "users" / "part-09.csv")
    told = r"users/part-09.csv: the id 'u0' appeared before, in .*users/part-00.csv; give each id one row$"
    for skip in (0, 9):
        with pytest.raises(DataError, match=told):
            prepared(raw, tmp_path / "out", Options(skip))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_stream_that_is_cut_short_is_no_bad_row(tmp_path: Path, suffix: str) -> None:
    raw = write_shop(tmp_path / "raw", interactions=None)
    text = interactions().write_csv().encode()
    packed = gzip.compress(text) if suffix == "gz" else zstandard.compress(text)
    (raw / f"interactions.csv.{suffix}").write_bytes(packed)
    prepared(raw, tmp_path / "out")
    (raw / f"interactions.csv.{suffix}").write_bytes(packed[:-20])
    with pytest.raises(DataError, match=rf"interactions.csv.{suffix}: cannot be read: ends in the middle"):
        prepared(raw, tmp_path / "out", Options(skip=1000))


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (interactions().drop("click"), "no column 'click'"),
        (interactions().with_columns(click=pl.lit(0)), "no 1 among the training rows; task 'ctr'"),
        (interactions().with_columns(click=pl.lit("x")), "that is bad row 50 where --skip-bad allows 40"),
        (interactions()[:0], "has no rows"),
    ],
)
def test_skipping_loosens_nothing_else(tmp_path: Path, frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(DataError, match=message):
        prepared(write_shop(tmp_path / "raw", interactions=frame), tmp_path / "out", Options(skip=40))


def test_a_table_of_bad_rows_alone_has_no_rows(tmp_path: Path) -> None:
    raw = write_shop(tmp_path / "raw", items=pl.DataFrame({"item_id": ["1", "2"], "price": ["x", "y"]}))
    with pytest.raises(DataError, match=r"items.csv: has no rows"):
        prepared(raw, tmp_path / "out", Options(skip=9))


def test_dates_and_numbers_in_one_column_of_times(tmp_path: Path) -> None:
    raw = write_shop(tmp_path / "raw", interactions=None)
    write_files(raw / "interactions", interactions(), 2)
    dated = interactions()[200:].with_columns(pl.from_epoch("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    dated.write_csv(raw / "interactions" / "part-01.csv")
    with pytest.raises(DataError, match=r"part-00.csv: column 'timestamp' holds numbers, and dates in .*part-01.csv"):
        prepared(raw, tmp_path / "out")
