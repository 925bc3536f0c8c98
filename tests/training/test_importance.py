"""Permutation importance of a model that was trained on one telling field."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from contract.errors import ConfigError, DataError
from tests.training import tiny
from tests.training.benchmark.test_targets import split
from training.__main__ import main
from training.checkpoint import load_checkpoint
from training.datasets.prepared import Prepared
from training.importance import Importance, importance, shuffled

QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.prepare(tmp_path_factory.mktemp("importance") / "data", tiny.schema(), rows=3000)


@pytest.fixture(scope="module")
def trained(data: Path) -> Path:
    settings = ("batch_size=100", "epochs=3", "model.embedding=4", "learning_rate=1e-2")
    chosen = [part for setting in settings for part in ("--set", setting)]
    run = data.parent / "run"
    main(["train", "--data", str(data), "--model", "ple", "--out", str(run), "--device", "cpu", *chosen])
    return run


def measured(trained: Path, data: Path, rows: int = 5000) -> Importance:
    return importance(load_checkpoint(trained).model, Prepared.open(data), "test", 3, rows, 0, QUIET)


def test_the_telling_field_comes_first_for_each_task(trained: Path, data: Path) -> None:
    found = measured(trained, data)
    assert found.fields[found.order[0]] == "user"
    assert (found.share[0] > 0.7).all()
    assert (found.mean[0] > 5 * found.spread[0]).all()
    assert found.share.sum(axis=0) == pytest.approx([1, 1])
    assert found.rows == 3000


def test_the_same_seed_gives_the_same_and_rows_are_bounded(trained: Path, data: Path) -> None:
    one, two = (measured(trained, data, rows=100) for _ in range(2))
    np.testing.assert_array_equal(one.falls, two.falls)
    assert one.rows == 100


def test_weights_move_with_their_ids() -> None:
    schema = tiny.schema(tiny.RICH)
    _, batch = split(schema, rows=50)
    order = torch.randperm(50)
    moved = shuffled(batch, schema, "likes", order)  # request numbers: three weights of likes, then age
    torch.testing.assert_close(moved.request_ids[:, 1:4], batch.request_ids[order][:, 1:4])
    torch.testing.assert_close(moved.request_dense[:, :3], batch.request_dense[order][:, :3])
    torch.testing.assert_close(moved.request_dense[:, 3:], batch.request_dense[:, 3:])


def test_all_slots_of_a_field_move_together_and_nothing_else_does() -> None:
    schema = tiny.schema()
    _, batch = split(schema, rows=50)
    order = torch.randperm(50)
    moved = shuffled(batch, schema, "likes", order)  # request slots: user, likes x 3, hour
    torch.testing.assert_close(moved.request_ids[:, 1:4], batch.request_ids[order][:, 1:4])
    torch.testing.assert_close(moved.request_ids[:, [0, 4]], batch.request_ids[:, [0, 4]])
    torch.testing.assert_close(moved.item_ids, batch.item_ids)
    number = shuffled(batch, schema, "price", order)
    torch.testing.assert_close(number.item_dense, batch.item_dense[order])
    torch.testing.assert_close(number.request_dense, batch.request_dense)


def test_the_command_writes_a_table_and_a_page(
    trained: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert not main(["importance", "--run", str(trained), "--data", str(data), "--out", str(out), "--repeats", "1"])
    told = capsys.readouterr().out
    assert "rank correlation" in told
    with (out / "importance.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["field"], row["task"]) for row in rows} == {
        (field.name, task) for field in tiny.FIELDS for task in ("ctr", "cvr")
    }
    assert rows[0]["field"] == "user"
    assert float(rows[0]["fall"]) > 0.05
    page = (out / "importance.html").read_text()
    assert page.count("<svg") == 1
    assert "Feature importance: ple on tiny" in page
    assert (out / "importance.svg").is_file()


def test_other_data_are_refused(trained: Path, tmp_path: Path) -> None:
    other = tiny.prepare(tmp_path / "other", tiny.schema(tiny.FIELDS[:3]))
    with pytest.raises(ConfigError, match="not those that"):
        main(["importance", "--run", str(trained), "--data", str(other)])


def test_a_split_without_rows_is_an_error(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no rows"):
        measured(trained, tiny.prepare(tmp_path / "empty", tiny.schema(), rows=0))


def test_a_rise_of_rmse_counts_as_importance() -> None:
    falls = np.array([[[0.3, 0.1]], [[-0.1, -0.1]]])  # [2 fields, 1 task, 2 repeats]
    found = Importance(("a", "b"), ("t",), ("RMSE",), np.array([1.0]), falls, 10)
    np.testing.assert_allclose(found.share, [[1], [0]])
    np.testing.assert_allclose(found.mean, [[0.2], [-0.1]])
    assert found.order == [0, 1]
