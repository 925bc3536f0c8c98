"""The budget of one request."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from contract.local_redis import private_redis
from loadtest.bench.budget import Budget, measure, table, verdict
from loadtest.bench.cells import Meter
from loadtest.bench.servers import Server
from tests.loadtest.bench.conftest import Tiny

BUDGET = Budget(latency=5.0, stages={"parse": 1.0, "run": 2.0, "total": 4.0}, cpu=3.0, engine_cpu=2.0, redis_cpu=0.5)


def test_parts_add_up_to_the_latency() -> None:
    assert BUDGET.rows() == {"parse": 1.0, "run": 2.0, "between stages": 1.0, "HTTP and sockets": 1.0}
    lines = table({200: BUDGET, 500: replace(BUDGET, latency=10.0)}).splitlines()
    assert "| parse | 1,000 | 20.0% | 1,000 | 10.0% |" in lines
    assert "| HTTP and sockets | 1,000 | 20.0% | 6,000 | 60.0% |" in lines
    assert "| CPU: all else (host path) | 1,000 | 20.0% | 1,000 | 10.0% |" in lines


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (BUDGET, "1.00 ms of CPU a request, target 1.5: met"),
        (replace(BUDGET, cpu=3.6), "1.60 ms of CPU a request, target 1.5: missed"),
        (replace(BUDGET, engine_cpu=0.0), "unknown"),
    ],
)
def test_verdict_is_on_the_host_path_of_500_candidates(budget: Budget, told: str) -> None:
    assert told in verdict({200: BUDGET, 500: budget})
    assert "not measured" in verdict({200: budget})


def test_stages_are_read_from_the_service_while_it_is_loaded(tiny: Tiny, lines: Path, tmp_path: Path) -> None:
    (tmp_path / "redis").mkdir()
    tiny.seconds = 0.005
    server = Server((f"{tiny.url}/score",), (os.getpid(),), f"{tiny.url}/metrics")
    with private_redis(tmp_path / "redis") as url:
        budget = measure(server, lines, 1.0, Meter(url))
    assert budget.stages == pytest.approx({"parse": 1.0, "run": 2.0, "total": 4.0})
    assert 5 < budget.latency < 100
    assert budget.cpu > 0.1
    assert budget.redis_cpu < 5
