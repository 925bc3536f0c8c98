"""Rows that expire: --ttl, its renewal, and what a rerun makes of an older start."""

import time
from typing import Any

import pytest
from redis import Redis

import export.features.generations as generations
import export.features.tables as tables
from contract.errors import StoreError
from contract.rows import live_key, redis_key
from contract.stamp import Stamp, stamp_key
from export.features import export_features
from tests.export.conftest import SCHEMA, write_prepared
from training.datasets.prepared import Prepared

FINGERPRINT = SCHEMA.fingerprint()
FIRST = "a" * 12


def key(user: str) -> str:
    return redis_key("twinscore", FINGERPRINT, FIRST, "u", user)


def left(redis: Redis, user: str = "u3") -> int:
    seconds: Any = redis.ttl(key(user))
    return int(seconds)


def cut_off(prepared: Prepared, url: str, monkeypatch: pytest.MonkeyPatch, ttl: int | None) -> list[int]:
    """A run that ends after twenty users; what it returns grows by the chunks of later runs."""
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
        export_features(prepared.path, url, ttl=ttl)
    calls[:] = [1] * 10
    return calls


def test_all_rows_expire_and_it_says_when(
    prepared: Prepared, url: str, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    export_features(prepared.path, url, ttl=1000)
    assert all(990 <= left(redis, f"u{i}") <= 1000 for i in range(30))
    assert "rows expire from" in capsys.readouterr().out
    assert redis.ttl(live_key("twinscore", FINGERPRINT)) == -1
    text: Any = redis.get(stamp_key("twinscore", FINGERPRINT, FIRST))
    stamp = Stamp.model_validate_json(text)
    assert stamp.ttl == 1000
    assert stamp.expires == pytest.approx(time.time() + 1000, abs=10)


def test_a_rerun_renews_them_and_one_without_an_expiry_keeps_them(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url, ttl=1000)
    redis.expire(key("u3"), 10)
    export_features(prepared.path, url, ttl=1000)
    assert left(redis) > 900
    export_features(prepared.path, url)
    assert left(redis) == -1


def test_rows_that_stay_get_an_expiry_where_one_is_asked_for(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url)
    export_features(prepared.path, url, ttl=1000)
    assert left(redis) > 900


def test_a_run_cut_off_continues_and_leaves_nothing_for_good(
    prepared: Prepared, url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = cut_off(prepared, url, monkeypatch, 1000)
    progress: Any = redis.ttl(redis_key("twinscore", FINGERPRINT, FIRST, "progress", ""))
    assert 0 < progress <= 1000
    export_features(prepared.path, url, ttl=1000)
    assert len(calls) == 12


def test_a_run_cut_off_begins_anew_where_rows_would_be_gone_too_soon(
    prepared: Prepared, url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = cut_off(prepared, url, monkeypatch, 1000)
    redis.hset(redis_key("twinscore", FINGERPRINT, FIRST, "progress", ""), "started", str(time.time() - 600))
    export_features(prepared.path, url, ttl=1000)
    assert len(calls) == 14


def test_a_run_cut_off_begins_anew_with_another_expiry(
    prepared: Prepared, url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = cut_off(prepared, url, monkeypatch, 1000)
    export_features(prepared.path, url)
    assert len(calls) == 14
    assert left(redis) == -1


def test_a_delta_renews_what_it_does_not_change(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url, ttl=1000)
    newer = write_prepared(prepared.path.parent / "newer", users=31, digest="b" * 64)
    with pytest.raises(StoreError, match="the live rows expire after 1000 s; give --ttl with --delta"):
        export_features(newer.path, url, delta=True)
    export_features(newer.path, url, delta=True, ttl=2000)
    assert all(left(redis, f"u{i}") > 1900 for i in range(31))


def test_rows_that_were_evicted_do_not_go_live(
    prepared: Prepared, url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = generations.Load.reached

    def evicts(self: generations.Load, side: str, rows: int) -> None:
        reached(self, side, rows)
        redis.delete(key("u7"))

    monkeypatch.setattr(generations.Load, "reached", evicts)
    with pytest.raises(StoreError, match="1 of 32 rows that were looked for are gone right after they were written"):
        export_features(prepared.path, url)
    assert redis.get(live_key("twinscore", FINGERPRINT)) is None
