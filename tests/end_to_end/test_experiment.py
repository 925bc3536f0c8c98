"""An experiment from bucket to verdict: a trial through the running service, counted, archived, read out."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from contract.local_redis import private_redis
from loadtest import trial
from tests.end_to_end.conftest import finish
from tests.service.bundles import write_tiny_bundle
from tests.service.test_main import serving
from tests.service.workers.test_parent import lay_out


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ple` and `dtn`."""
    root = tmp_path_factory.mktemp("bundles")
    for seed, name in enumerate(("ple", "dtn")):
        write_tiny_bundle(root, name, seed)
    return root


@pytest.fixture(scope="module")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty Redis."""
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


@pytest.mark.parametrize("log", ["file:.run/log", pytest.param("redis", marks=pytest.mark.slow)])
def test_what_a_trial_sent_is_what_the_readout_shows(
    log: str, tmp_path: Path, bundles: Path, redis_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = lay_out(tmp_path, bundles)
    setting = {"REDIS_URL": redis_address, "TWINSCORE_LOG": log, "TWINSCORE_REDIS_PREFIX": f"trial-{log[:5]}"}
    with serving(folder, TWINSCORE_WORKERS="2", **setting) as (_, address, _curl):
        assert trial.main(["--host", address, "--users", "400", "--clicks", "ple=0.2,dtn=0.3"]) == 0
        sent = dict(_sent(capsys.readouterr().out))
        assert set(sent) == {"dtn", "ple"}
        finish(folder, "service", "outcomes", "--once", **setting)
        readout = httpx.get(f"{address}/experiments/dtn-vs-ple/readout").json()
        shown = {
            arm["name"]: [arm[name] for name in ("users", "exposures", "clicks", "conversions")]
            for arm in readout["arms"]
        }
        assert shown == sent
        assert readout["verdict"]["decision"] in ("wait", "ship")
    assert "equal" in finish(folder, "service", "outcomes", "recompute", "--check", **setting)
    told = json.loads(finish(folder, "service", "readout", "dtn-vs-ple", "--json", **setting))
    assert told["verdict"]["sentence"]


def _sent(output: str) -> list[tuple[str, list[int]]]:
    lines = re.findall(r"(\w+): (\d+) users, (\d+) exposures, (\d+) clicks, (\d+) conversions", output)
    return [(arm, [int(number) for number in numbers]) for arm, *numbers in lines]
