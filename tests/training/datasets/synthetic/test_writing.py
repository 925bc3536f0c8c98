"""`python -m training synthetic`: files that prepare to the same data set, resumed, and never mixed."""

import json
from pathlib import Path

import polars as pl
import pytest

from contract.errors import ConfigError, DataError
from tests.training.datasets.synthetic.drawn import all_rows
from training.__main__ import main
from training.datasets.prepared import Prepared
from training.datasets.synthetic.files import parts, write_parquet
from training.datasets.synthetic.spec import Shape, Spec
from training.datasets.synthetic.tables import draw

SMALL = ["--rows", "6000", "--users", "300", "--items", "50", "--seed", "3"]
SPEC = Spec(6_000, users=300, items=50, seed=3)


def write(folder: Path, *options: str) -> None:
    assert main(["synthetic", "--out", str(folder), *SMALL, *options]) == 0


@pytest.mark.parametrize("shape", ["aliccp", "flat"])
def test_files_prepare_to_the_same_data_set(shape: Shape, tmp_path: Path) -> None:
    write(tmp_path / "raw", "--shape", shape)
    direct = ["prepare", "synthetic", *SMALL, "--shape", shape]
    assert main([*direct, "--out", str(tmp_path / "direct")]) == 0
    assert main(["prepare", "table", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "files")]) == 0
    written = sorted(path for path in (tmp_path / "direct").rglob("*") if path.is_file())
    same = [
        path.read_bytes() == (tmp_path / "files" / path.relative_to(tmp_path / "direct")).read_bytes()
        for path in written
    ]
    assert len(written) > 8
    assert [path.name for path, ok in zip(written, same, strict=True) if not ok] == ["prepared.json"]  # another source
    assert Prepared.open(tmp_path / "direct").description.source.startswith("synthetic: 6000 rows")
    truth = Prepared.open(tmp_path / "files").matrices("test").truth
    assert set(truth) == {"ctr", "cvr"}


def test_it_tells_what_the_oracle_scores(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "raw", "--late", "lost", "--conversion-rate", "0.5")
    known = json.loads((tmp_path / "raw" / "synthetic.json").read_bytes())
    log = pl.read_parquet(tmp_path / "raw" / "interactions" / "*.parquet")
    late = log.filter((pl.col("conversion") == 0) & pl.col("truth:conversion_time").is_not_null())
    assert known["late"] == len(late) > 0
    assert known["oracle"]["ctr"]["positives"] == log["click"].sum()
    printed = capsys.readouterr().out
    assert (
        f"ctr    {log['click'].to_numpy().mean():.4%} of 6,000; the oracle's AUC {known['oracle']['ctr']['auc']:.4f}"
        in printed
    )
    assert f"{len(late)} conversions after the log's end, labelled 0" in printed


def test_what_is_there_is_not_drawn_again(tmp_path: Path) -> None:
    files = parts(tmp_path, SPEC, rows=2_000)
    assert [f"{part.path.parent.name}/{part.path.name}" for part in files] == [
        *("users/part-00000.parquet", "items/part-00000.parquet"),
        *(f"interactions/part-0000{number}.parquet" for number in range(3)),
    ]
    write_parquet(tmp_path, SPEC, files, lambda _: None)
    assert pl.read_parquet(tmp_path / "interactions" / "*.parquet").equals(all_rows(draw(SPEC).interactions))
    kept, lost = files[2].path, files[3].path
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.rename(lost.with_name(f".{lost.name}.123.part"))  # as a killed run leaves it
    write_parquet(tmp_path, SPEC, files, lambda _: None)
    assert kept.stat().st_mtime_ns == before
    assert lost.read_bytes() == content
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith(".")]


def test_a_cut_off_run_is_not_taken_for_whole(tmp_path: Path) -> None:
    """The schema, without which nothing is read, comes last."""
    files = parts(tmp_path / "raw", SPEC, rows=2_000)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_parquet(tmp_path / "raw", SPEC, files, stop)
    with pytest.raises(DataError, match="no interactions"):
        main(["prepare", "table", "--raw", str(tmp_path / "raw"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "raw" / "schema.yaml").exists()


def test_another_log_is_not_mixed_in(tmp_path: Path) -> None:
    write(tmp_path / "raw")
    write(tmp_path / "raw")
    with pytest.raises(ConfigError, match=r"raw: holds another synthetic log \(see synthetic.json\)"):
        write(tmp_path / "raw", "--drift", "0")
    with pytest.raises(ConfigError, match="holds another synthetic log"):
        write(tmp_path / "raw", "--format", "aliccp")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").touch()
    with pytest.raises(ConfigError, match="mine: exists and is not a synthetic log"):
        write(tmp_path / "mine")


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"file/raw: cannot be written: Not a directory"):
        write(tmp_path / "file" / "raw")


def test_the_format_of_ali_ccp(tmp_path: Path) -> None:
    write(tmp_path / "raw", "--format", "aliccp")
    out = ["--out", str(tmp_path / "out")]
    assert main(["prepare", "aliccp", "--raw", str(tmp_path / "raw"), "--min-count", "1", *out]) == 0
    description = Prepared.open(tmp_path / "out").description
    assert sum(description.rows.values()) == 6_000


@pytest.mark.parametrize(
    "wrong",
    [["--rows", "0"], ["--days", "0"], ["--cold", "2"], ["--drift", "-1"], ["--delay", "0"], ["--late", "never"]],
)
def test_impossible_options_are_refused(wrong: list[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["synthetic", "--out", str(tmp_path), *wrong])
