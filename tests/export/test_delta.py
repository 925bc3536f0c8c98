"""Deltas: only what differs is written, into the live generation, and a rerun knows."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from redis import Redis

import export.features.tables as tables
from contract.errors import StoreError
from contract.rows import live_key, redis_key
from contract.stamp import Stamp, stamp_key
from export.features import export_features
from tests.export.conftest import SCHEMA, write_prepared
from training.datasets.prepared import KEY, Prepared

FINGERPRINT = SCHEMA.fingerprint()
FIRST = "a" * 12


def key(user: str, generation: str = FIRST) -> str:
    return redis_key("twinscore", FINGERPRINT, generation, "u", user)


def stamp(redis: Redis, generation: str = FIRST) -> Stamp:
    text: Any = redis.get(stamp_key("twinscore", FINGERPRINT, generation))
    return Stamp.model_validate_json(text)


def live(redis: Redis) -> str:
    value: Any = redis.get(live_key("twinscore", FINGERPRINT))
    return str(value.decode())


def sets(redis: Redis) -> int:
    """Calls that wrote rows."""
    told: Any = redis.info("commandstats")
    return int(told.get("cmdstat_mset", {}).get("calls", 0))


@pytest.fixture
def newer(prepared: Prepared) -> Prepared:
    """Three users older by a year, and two new ones."""
    newer = write_prepared(prepared.path.parent / "newer", users=32, digest="b" * 64)
    (part,) = (newer.path / "users").glob("*.parquet")
    aged = pl.when(pl.col(KEY).is_in(["u3", "u4", "u5"])).then(41.0).otherwise(pl.col("age")).cast(pl.Float32)
    pl.read_parquet(part).with_columns(age=aged).write_parquet(part)
    return newer


def test_only_what_differs_is_written_and_the_generation_stays(
    prepared: Prepared, newer: Prepared, url: str, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    export_features(prepared.path, url)
    for user in range(30):  # rows that are written again lose this
        redis.expire(key(f"u{user}"), 1000)
    export_features(newer.path, url, delta=True)
    assert "2 rows new and 3 changed of 34" in capsys.readouterr().out
    assert live(redis) == FIRST
    assert {user for user in range(30) if redis.ttl(key(f"u{user}")) == -1} == {3, 4, 5}
    clean = redis.get(key("u31"))
    export_features(newer.path, url, force=True)
    assert live(redis) == "b" * 12
    assert redis.get(key("u31", "b" * 12)) == clean
    assert redis.get(key("u3", "b" * 12)) == redis.get(key("u3"))


def test_a_rerun_of_a_delta_or_of_its_tables_writes_nothing(
    prepared: Prepared, newer: Prepared, url: str, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    export_features(prepared.path, url)
    export_features(newer.path, url, delta=True)
    before = sets(redis)
    export_features(newer.path, url, delta=True)
    export_features(newer.path, url)
    said = capsys.readouterr().out
    assert "holds these tables already" in said
    assert f"generation {FIRST} is loaded already" in said
    assert sets(redis) == before
    assert stamp(redis).deltas == ("b" * 64,)
    assert (stamp(redis).digest, stamp(redis).pending) == ("b" * 64, None)


def test_the_first_tables_after_a_delta_are_loaded_beside_it(
    prepared: Prepared, newer: Prepared, url: str, redis: Redis
) -> None:
    export_features(prepared.path, url)
    first = redis.get(key("u3"))
    export_features(newer.path, url, delta=True)
    export_features(prepared.path, url)
    assert live(redis) == f"{FIRST}-2"
    assert redis.get(key("u3", live(redis))) == first
    assert redis.get(key("u31", live(redis))) is None
    assert redis.ttl(key("u3")) > 0
    export_features(newer.path, url, delta=True)
    export_features(prepared.path, url)
    assert live(redis) == FIRST
    assert (redis.get(key("u3")), redis.ttl(key("u3"))) == (first, -1)


def cut_off(newer: Prepared, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A delta that ends after twenty users."""
    monkeypatch.setattr(tables, "CHUNK", 10)
    encode = tables.encode

    def fails_at_the_third(*arguments: Any) -> list[bytes]:
        calls.append(1)
        if len(calls) == 3:
            raise StoreError("cut off")
        return encode(*arguments)

    calls: list[int] = []
    monkeypatch.setattr(tables, "encode", fails_at_the_third)
    with pytest.raises(StoreError, match="cut off"):
        export_features(newer.path, url, delta=True)


def test_a_delta_cut_off_is_known_as_such_and_ends_in_the_next_run(
    prepared: Prepared, newer: Prepared, url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_features(prepared.path, url)
    written = stamp(redis).written
    cut_off(newer, url, monkeypatch)
    assert (stamp(redis).digest, stamp(redis).pending, stamp(redis).written) == ("a" * 64, "b" * 64, written)
    export_features(newer.path, url, delta=True)
    assert redis.get(key("u31"))
    assert stamp(redis).pending is None
    assert stamp(redis).deltas == ("b" * 64,)


def test_after_a_delta_cut_off_the_first_tables_are_loaded_anew(
    prepared: Prepared, newer: Prepared, url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    export_features(prepared.path, url)
    first = redis.get(key("u3"))
    cut_off(newer, url, monkeypatch)
    assert redis.get(key("u3")) != first
    export_features(prepared.path, url)
    assert live(redis) == f"{FIRST}-2"
    assert redis.get(key("u3", live(redis))) == first


def test_a_delta_onto_nothing_is_refused(prepared: Prepared, url: str, redis: Redis) -> None:
    with pytest.raises(StoreError, match="nothing is live that a delta could change; load the tables without --delta"):
        export_features(prepared.path, url, delta=True)
    assert redis.dbsize() == 0


def test_a_delta_onto_rows_of_an_older_release_works(
    prepared: Prepared, newer: Prepared, url: str, redis: Redis
) -> None:
    export_features(prepared.path, url)
    redis.delete(stamp_key("twinscore", FINGERPRINT, FIRST))
    export_features(newer.path, url, delta=True)
    assert redis.get(key("u31"))
    assert stamp(redis).digest == "b" * 64


def test_a_lost_row_is_found_by_a_delta_of_the_same_tables(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url)
    redis.delete(key("u7"))
    export_features(prepared.path, url, delta=True)
    assert redis.get(key("u7"))
    assert stamp(redis).deltas == ()


def test_when_the_data_were_prepared_is_told(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url)
    description = Path(prepared.path / "prepared.json")
    assert stamp(redis).prepared == pytest.approx(description.stat().st_mtime)
    assert stamp(redis).written >= stamp(redis).prepared
