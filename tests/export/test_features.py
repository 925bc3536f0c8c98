"""Feature tables to Redis: what is stored, twice, cut off and continued, switched at once."""

import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

import export.features.tables as tables
from contract.errors import StoreError
from contract.rows import Rows, layout, live_key, redis_key
from contract.schema import Side
from export.features import export_features
from export.features.generations import RETIRED_SECONDS
from tests.export.conftest import SCHEMA, write_prepared
from training.datasets.prepared import Prepared

FINGERPRINT = SCHEMA.fingerprint()


def live(redis: Redis) -> str:
    value = redis.get(live_key("twinscore", FINGERPRINT))
    assert isinstance(value, bytes)
    return value.decode()


def read(redis: Redis, prepared: Prepared, kind: str, key: str) -> Rows:
    value = redis.get(redis_key("twinscore", FINGERPRINT, live(redis), kind, key))
    side = {"u": Side.USER, "i": Side.ITEM}[kind]
    return layout(SCHEMA, prepared.dictionaries, side).decode([value if isinstance(value, bytes) else None])


def test_what_was_prepared_is_what_a_reader_decodes(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url)
    user, item = read(redis, prepared, "u", "u7"), read(redis, prepared, "i", "i1")
    assert not user.missing[0]
    assert not item.missing[0]
    assert user.ids.tolist() == [[1]]
    assert user.dense.tolist() == [[40.0]]
    assert item.ids.tolist() == [[5, 6]]


def test_a_second_run_writes_nothing(
    prepared: Prepared, url: str, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    export_features(prepared.path, url)
    before = redis.info("commandstats")
    export_features(prepared.path, url)
    assert "loaded already" in capsys.readouterr().out
    assert redis.info("commandstats")["cmdstat_mset"]["calls"] == before["cmdstat_mset"]["calls"]


def test_lost_rows_are_noticed_and_written_again(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url)
    redis.delete(redis_key("twinscore", FINGERPRINT, live(redis), "u", "u7"))
    export_features(prepared.path, url)
    assert not read(redis, prepared, "u", "u7").missing[0]


def test_a_run_cut_off_shows_readers_nothing_and_continues(
    prepared: Prepared, url: str, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "CHUNK", 10)
    encode, calls = tables.encode, 0

    def fails_at_the_third(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RedisError("connection lost")
        return encode(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(tables, "encode", fails_at_the_third)
    with pytest.raises(StoreError, match="connection lost; run the same command again"):
        export_features(prepared.path, url)
    assert redis.get(live_key("twinscore", FINGERPRINT)) is None
    calls = 10
    export_features(prepared.path, url)
    assert calls == 12  # the third chunk of users and the one of items
    assert all(not read(redis, prepared, "u", f"u{i}").missing[0] for i in range(30))


def test_new_tables_go_live_at_once_and_old_rows_stay_a_while(prepared: Prepared, url: str, redis: Redis) -> None:
    export_features(prepared.path, url)
    old = live(redis)
    newer = write_prepared(prepared.path.parent / "newer", digest="b" * 64, age=41)
    export_features(newer.path, url)
    assert live(redis) != old
    assert read(redis, newer, "u", "u3").dense.tolist() == [[41.0]]
    ttl = redis.ttl(redis_key("twinscore", FINGERPRINT, old, "u", "u3"))
    assert isinstance(ttl, int)
    assert 0 < ttl <= RETIRED_SECONDS
    assert redis.ttl(redis_key("twinscore", FINGERPRINT, live(redis), "u", "u3")) == -1


def test_returning_to_earlier_tables_writes_them_for_good(prepared: Prepared, url: str, redis: Redis) -> None:
    newer = write_prepared(prepared.path.parent / "newer", digest="b" * 64, age=41)
    for path in (prepared.path, newer.path, prepared.path):
        export_features(path, url)
    assert read(redis, prepared, "u", "u3").dense.tolist() == [[40.0]]
    assert redis.ttl(redis_key("twinscore", FINGERPRINT, live(redis), "u", "u3")) == -1


def test_an_unreachable_server_is_one_line(prepared: Prepared) -> None:
    with pytest.raises(StoreError, match=r"Redis at redis://127\.0\.0\.1:1: .*run the same command again"):
        export_features(prepared.path, "redis://127.0.0.1:1")


def test_it_runs_without_torch(tmp_path: Path) -> None:
    code = "import sys, export.features, export.__main__; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=False).returncode == 0
