"""The table: both kinds of task, what is undefined, what is absent."""

import json
from io import StringIO

import numpy as np
from rich.console import Console

from contract.schema import Task
from training.metrics import binary_metrics, continuous_metrics
from training.report import Metrics, print_metrics

Z, Y = np.array([2.0, -1, 0, 1]), np.array([1.0, 0, 0, 1])
HYBRID = (Task(name="sold", label="y"), Task(name="amount", label="a", kind="continuous", space="sold"))


def printed(metrics: Metrics, tasks: tuple[Task, ...] = ()) -> list[str]:
    written = StringIO()
    print_metrics(Console(width=40, file=written), metrics, tasks)  # narrower than the table
    return [" ".join(line.split()) for line in written.getvalue().splitlines()]


def test_binary_lines() -> None:
    lines = printed({"test": {"ctr": binary_metrics(Z, Y), "cvr": binary_metrics(Z[:1], Y[:1])}})
    assert lines[0] == "split task AUC log loss ECE calibration rows positives"
    assert lines[1].startswith("test ctr 1.0000 0.3616 ")
    assert lines[1].endswith(" 4 2")
    assert lines[2].startswith("test cvr – 0.1269 ")


def test_gauc_with_its_share_where_there_are_users() -> None:
    lines = printed({"test": {"ctr": binary_metrics(Z, Y, np.array([0, 0, 1, 2], np.int32))}})
    assert lines[0].startswith("split task AUC GAUC (of rows) log loss")
    assert lines[1].startswith("test ctr 1.0000 1.0000 (50%) 0.3616")


def test_continuous_lines_below_with_their_rows() -> None:
    metrics: Metrics = {
        split: {"sold": binary_metrics(Z, Y), "amount": continuous_metrics(Z[::3], Y[::3])}
        for split in ("validation", "test")
    }
    lines = printed(metrics, HYBRID)
    assert [line.split()[:3] for line in lines] == [
        ["split", "task", "over"],
        ["validation", "sold", "impressions"],
        ["test", "sold", "impressions"],
        ["split", "task", "over"],
        ["validation", "amount", "sold"],
        ["test", "amount", "sold"],
    ]
    assert lines[3] == "split task over RMSE MAE Spearman Gini calibration rows"
    assert lines[5] == "test amount sold = 1 0.7071 0.5000 – – 1.5000 2"


def test_metrics_of_earlier_runs_lack_some() -> None:
    read = json.loads('{"auc": 1, "log_loss": 0.5, "calibration": null, "rows": 4, "positives": 2}')
    assert printed({"test": {"ctr": read}})[1] == "test ctr 1.0000 0.5000 – – 4 2"
