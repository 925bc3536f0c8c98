"""GET /experiments/{key}/readout: what is stored, and no statistics in the serving process."""

import subprocess
import sys
import time

from redis import Redis

from service.experiments import keys
from service.experiments.readout.readout import readout_of
from tests.service.conftest import Client
from tests.service.experiments.readout.users import counted, draw, experiment, sums

PATH = "/experiments/dtn-vs-ple/readout"


def test_the_stored_readout_with_its_age(client: Client, redis: Redis) -> None:
    stored = readout_of(sums(ple=counted(draw(300)), dtn=counted(draw(310))), experiment(), 7, time.time() - 90, {})
    redis.set(keys.readout("twinscore", "dtn-vs-ple"), stored.model_dump_json())
    reply = client.get(PATH)
    assert reply.status_code == 200
    body = reply.json()
    assert 89 < body.pop("age_seconds") < 100
    assert body == stored.model_dump(mode="json")


def test_problems(client: Client, redis: Redis) -> None:
    unknown = client.get("/experiments/nobody/readout")
    assert (unknown.status_code, unknown.json()["type"]) == (404, "urn:twinscore:problem:unknown-experiment")
    assert unknown.json()["detail"] == "no experiment 'nobody'; known: dtn-vs-ple"
    none = client.get(PATH)
    assert (none.status_code, none.json()["type"]) == (503, "urn:twinscore:problem:no-readout")
    assert none.json()["detail"] == "no readout yet: run python -m service outcomes"
    redis.set(keys.readout("twinscore", "dtn-vs-ple"), "{}")
    assert client.get(PATH).json()["detail"].startswith("the stored readout cannot be read; ")


def test_the_serving_process_loads_no_statistics() -> None:
    code = "import sys, service.app; print(sorted({name.partition('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "'service'" in loaded
    assert not [name for name in ("scipy", "tea_tasting", "ibis") if f"'{name}'" in loaded]
