"""How old the rows are, on /metrics."""

import asyncio
import time

import pytest
from redis import Redis

from contract.stamp import Stamp, stamp_key
from service.scoring import freshness
from service.settings import Settings
from tests.service.bundles import SCHEMA
from tests.service.conftest import Client, make_live, running

FINGERPRINT = SCHEMA.fingerprint()
OF = f'{{schema="{FINGERPRINT[:8]}"}}'


def note(redis: Redis, generation: str, stamp: Stamp) -> None:
    redis.set(stamp_key("twinscore", FINGERPRINT, generation), stamp.model_dump_json())


def eventually(client: Client, name: str, lowest: float, highest: float) -> bool:
    """Whether a metric comes into a range within two seconds; 0 stands for its absence."""
    for _ in range(40):
        if lowest <= client.metric(f"twinscore_features_{name}_seconds{OF}") <= highest:
            return True
        client.run(asyncio.sleep(0.05))
    return False


def test_ages_grow_from_the_stamp_and_follow_the_live_generation(
    settings: Settings, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(freshness, "LOOK_SECONDS", 0.05)
    now = time.time()
    note(redis, "g1", Stamp(digest="a", written=now - 100, prepared=now - 5000, expires=now + 900, ttl=1000))
    with running(settings) as client:
        assert eventually(client, "age", 100, 110)
        assert eventually(client, "data_age", 5000, 5010)
        assert eventually(client, "expire", 890, 900)
        note(redis, "g1", Stamp(digest="b", written=now - 50, prepared=now - 60))  # a delta
        assert eventually(client, "age", 50, 60)
        assert eventually(client, "expire", 0, 0)
        note(redis, "g2", Stamp(digest="c", written=now - 10, prepared=now - 20))
        make_live(redis, "g2")
        assert eventually(client, "data_age", 20, 30)


def test_rows_of_which_nobody_said_when_have_no_age(settings: Settings, redis: Redis) -> None:
    redis.set(stamp_key("twinscore", FINGERPRINT, "g1"), "no stamp")
    with running(settings) as client:
        client.run(asyncio.sleep(0.2))
        assert "twinscore_features_age_seconds{" not in client.get("/metrics").text
