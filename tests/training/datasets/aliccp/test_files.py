"""The forms in which the files come, and what is said when they are not whole."""

import gzip
import tarfile
from pathlib import Path

import pytest

from contract.errors import DataError
from tests.training.datasets.aliccp.files import CONTENT, frame, impression, read, write
from training.datasets.aliccp import files
from training.datasets.aliccp.files import File, find


def archived(folder: Path, inside: str = "") -> Path:
    """Put the files of a folder into the archives in which they are handed out."""
    for part in ("train", "test"):
        with tarfile.open(folder / f"sample_{part}.tar.gz", "w:gz") as archive:
            for name in (f"common_features_{part}.csv", f"sample_skeleton_{part}.csv"):
                archive.add(folder / name, inside + name)
                (folder / name).unlink()
    return folder


@pytest.mark.parametrize("inside", ["", "sample_train/"])
def test_archives_and_gzip_give_what_the_plain_files_do(tmp_path: Path, inside: str) -> None:
    plain = read(write(tmp_path / "plain"))
    tar = read(archived(write(tmp_path / "tar"), inside))
    for name in CONTENT:
        path = write(tmp_path / "gz") / name
    for path in (tmp_path / "gz").glob("*.csv"):
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    zipped = read(tmp_path / "gz")
    for other in (tar, zipped):
        assert frame(other.interactions).equals(frame(plain.interactions))
        assert frame(other.users).equals(frame(plain.users))
    assert sorted(path.name for path in (tmp_path / "tar").iterdir()) == ["sample_test.tar.gz", "sample_train.tar.gz"]


@pytest.mark.parametrize("kind", ["gz", "tar"])
def test_a_truncated_file_is_one_line_and_no_rows_are_taken_for_all(tmp_path: Path, kind: str) -> None:
    write(tmp_path, sample_skeleton_train=[impression(i, f"205:{3_964_447 + i * i}") for i in range(5_000)])
    path = tmp_path / "sample_skeleton_train.csv"
    if kind == "tar":
        whole = (archived(tmp_path) / "sample_train.tar.gz").read_bytes()
        path = tmp_path / "sample_train.tar.gz"
    else:
        whole = gzip.compress(path.read_bytes())
        path.unlink()
        path = tmp_path / "sample_skeleton_train.csv.gz"
    for length in (len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"sample_.*cannot be read: .*end") as caught:
            frame(read(tmp_path).interactions)
        assert "\n" not in str(caught.value)


def test_damaged_bytes_are_one_line(tmp_path: Path) -> None:
    write(tmp_path)
    path = tmp_path / "sample_skeleton_train.csv"
    content = bytearray(gzip.compress(path.read_bytes()))
    content[-6] ^= 1
    path.unlink()
    path.with_name(f"{path.name}.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"sample_skeleton_train.csv.gz: cannot be read: CRC"):
        frame(read(tmp_path).interactions)


def test_what_is_missing_or_twice_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: no such folder"):
        find(tmp_path / "none", "sample_skeleton", "train")
    with pytest.raises(DataError, match=r"no sample_skeleton_train.csv; put it here .* sample_train.tar.gz"):
        read(tmp_path)
    archived(write(tmp_path))
    write(tmp_path)
    with pytest.raises(DataError, match=r"in sample_skeleton_train.csv and in sample_train.tar.gz; move one away"):
        read(tmp_path)


def test_an_archive_without_the_file_says_what_it_has(tmp_path: Path) -> None:
    archived(write(tmp_path))
    (tmp_path / "sample_train.tar.gz").write_bytes((tmp_path / "sample_test.tar.gz").read_bytes())
    with pytest.raises(DataError, match=r"no sample_skeleton_train.csv in the archive; it has: common_features_test"):
        frame(read(tmp_path).interactions)


def test_an_empty_file_is_not_taken_for_no_users(tmp_path: Path) -> None:
    raw = read(write(tmp_path, common_features_test=[]))
    with pytest.raises(DataError, match=r"common_features_test.csv: is empty; fetch it again"):
        frame(raw.users)


def test_a_file_without_lines_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "BLOCK", 1_000)
    path = tmp_path / "sample_skeleton_train.csv"
    path.write_bytes(bytes(100_000))
    with pytest.raises(DataError, match=r"no end of line in 3,000 bytes; is it a text file"):
        list(File(path).blocks())
