"""Bank Marketing: the hybrid pair, the column that must stay out, every way to name the file."""

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest

from contract.errors import DataError
from contract.schema import Side
from training.__main__ import main
from training.datasets.bank import ARCHIVE, CALL, CLIENT, FILE, LABELS, read_bank
from training.datasets.pipeline import write_prepared
from training.datasets.prepared import USER, Prepared

RAW = Path(os.environ.get("TWINSCORE_DATA", "../shared/data")) / "bank"
needs_data = pytest.mark.skipif(not RAW.is_dir(), reason=f"{RAW} is absent; set TWINSCORE_DATA")

CELLS = {"age": "30", "pdays": "999", "previous": "0", "campaign": "1", "duration": "100", "y": "no"}
COLUMNS = (*CLIENT, *CALL, *LABELS)


def csv(*changes: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> str:
    """A file of calls, each with other cells."""
    plain = {name: "1.5" if "." in name else "text" for name in columns} | CELLS
    rows = [[f'"{name}"' for name in columns], *([(plain | change)[name] for name in columns] for change in changes)]
    return "".join(";".join(cells) + "\n" for cells in rows)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    out = tmp_path_factory.mktemp("bank") / "out"
    write_prepared(read_bank(RAW), out)
    return Prepared.open(out)


@needs_data
def test_the_split_is_the_permutation(prepared: Prepared) -> None:
    order = np.random.default_rng(20261122).permutation(41_188)
    found = [set(prepared.interactions(split).collect()[USER]) for split in ("train", "validation", "test")]
    assert found == [set(order[:28_831]), set(order[28_831:32_950]), set(order[32_950:])]


@needs_data
def test_labels(prepared: Prepared) -> None:
    assert [(task.name, task.kind) for task in prepared.schema.tasks] == [
        ("subscribed", "binary"),
        ("duration", "continuous"),
    ]
    labels = {name: np.concatenate([prepared.matrices(s).labels[name] for s in ("train", "validation", "test")])
              for name in ("subscribed", "duration")}  # fmt: skip
    assert labels["subscribed"].mean(dtype=np.float64) == pytest.approx(0.1127, abs=5e-5)
    assert np.expm1(labels["duration"].astype(np.float64)).mean() == pytest.approx(258.28501, abs=1e-3)


@needs_data
def test_inputs(prepared: Prepared) -> None:
    fields = prepared.schema.by_name
    assert len(fields) == 19
    assert not {field.source for field in prepared.schema.fields} & {*LABELS, "label_subscribed", "label_duration"}
    assert {fields[name].side for name in ("job", "month")} == {Side.USER, Side.CONTEXT}
    train = prepared.matrices("train")
    seconds = train.labels["duration"]
    for column in train.request_dense.T:  # whatever it is called: nothing may tell the duration
        assert abs(np.corrcoef(column, seconds)[0, 1]) < 0.5


def test_every_way_to_name_the_file(tmp_path: Path) -> None:
    text = csv({"duration": "0"}, {"duration": "99", "y": "yes"})
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / FILE).write_text(text)
    (tmp_path / "folder" / "bank-additional").mkdir(parents=True)
    (tmp_path / "folder" / "bank-additional" / FILE).write_text(text)
    (tmp_path / "zip").mkdir()
    with zipfile.ZipFile(tmp_path / "zip" / ARCHIVE, "w") as archive:
        archive.writestr(f"__MACOSX/bank-additional/._{FILE}", b"\0\1")
        archive.writestr(f"bank-additional/{FILE}", text)
    named = ("file", f"file/{FILE}", "folder", "zip", f"zip/{ARCHIVE}")
    frames = [read_bank(tmp_path / name).interactions.frame for name in named]
    assert all(frame.equals(frames[0]) for frame in frames)
    assert frames[0]["label_subscribed"].to_list() == [False, True]
    assert frames[0]["label_duration"].to_list() == pytest.approx([0, np.log(100)])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "cannot be read"),
        (csv(), "has no rows"),
        (csv({}).replace(";", ","), "not bank-additional-full.csv.* no column 'age'"),
        (csv({}, columns=(*CLIENT, *CALL, "duration")), "no column 'y'"),
        (csv({}, {"y": "maybe"}), "column 'y', row 2: 'maybe' is neither yes nor no"),
        (csv({}, {"y": ""}), "column 'y', row 2: .* is neither"),
        (csv({"duration": "-1"}), "column 'duration', row 1: '-1' is not a duration"),
        (csv({"duration": ""}), "column 'duration', row 1: .* is not a duration"),
        (csv({"duration": "long"}), "column 'duration', row 1: 'long' is not a number"),
        (csv({}) + "1;2;3" + ";4" * 40 + "\n", "cannot be read"),
    ],
)
def test_another_csv_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / FILE
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        read_bank(path)
    assert "\n" not in str(caught.value)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"bank-additional.zip: no such file; --raw names"):
        read_bank(tmp_path)
    path = tmp_path / ARCHIVE
    path.write_bytes(b"no archive")
    with pytest.raises(DataError, match="cannot be read: File is not a zip file"):
        read_bank(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bank-additional.csv", "x")
    with pytest.raises(DataError, match=r"no bank-additional-full.csv inside, but bank-additional.csv; unpack"):
        read_bank(path)


@needs_data
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare", "bank", "--raw", str(RAW), "--out", str(tmp_path / "out")]) == 0
    assert "28,831 rows   subscribed 11." in (printed := capsys.readouterr().out)
    assert "duration mean 5.1" in printed
