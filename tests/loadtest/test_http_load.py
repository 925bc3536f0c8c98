"""Both load generators of the benchmark against a real server."""

import shutil
from pathlib import Path

import pytest

from contract.errors import ConfigError
from loadtest.http_load import figures, generator, load
from tests.loadtest.conftest import Service

GENERATORS = ["asyncio", pytest.param("wrk", marks=pytest.mark.skipif(not shutil.which("wrk"), reason="no wrk"))]


@pytest.fixture
def bodies(tmp_path: Path) -> Path:
    """Two requests."""
    file = tmp_path / "bodies.jsonl"
    file.write_text('{"item_ids": ["a"]}\n{"item_ids": ["b", "c"]}\n')
    return file


@pytest.fixture(params=GENERATORS)
def chosen(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each generator in turn."""
    if request.param == "asyncio":
        monkeypatch.setenv("PATH", "")
    assert generator() == request.param
    return str(request.param)


@pytest.mark.usefixtures("chosen")
def test_all_bodies_are_sent_and_counted(service: Service, bodies: Path) -> None:
    measured = load([f"{service.url}/score"], bodies, connections=2, seconds=1)
    assert {len(body["item_ids"]) for body in service.bodies} == {1, 2}
    assert measured.requests_per_second == pytest.approx(len(service.bodies), rel=0.3)
    assert 0 < measured.p50 <= measured.p99 <= measured.p999 < 1_000


@pytest.mark.usefixtures("chosen")
def test_connections_spread_over_addresses(service: Service, bodies: Path) -> None:
    mine, other = service.url, service.url.replace("127.0.0.1", "localhost")
    measured = load([f"{mine}/score", f"{other}/score"], bodies, connections=2, seconds=1)
    assert measured.requests == pytest.approx(len(service.bodies), abs=4)


@pytest.mark.usefixtures("chosen")
def test_failing_service_is_no_measurement(service: Service, bodies: Path) -> None:
    service.fault = "status"
    with pytest.raises(ConfigError, match=service.url):
        load([f"{service.url}/score"], bodies, connections=1, seconds=1)


def test_figures_are_percentiles_in_milliseconds() -> None:
    measured = figures([0.001] * 98 + [0.5, 0.5], seconds=4)
    assert measured.requests_per_second == 25
    assert measured.p50 == pytest.approx(1)
    assert measured.p99 == measured.p999 == pytest.approx(500)
