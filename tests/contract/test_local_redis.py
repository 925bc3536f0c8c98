"""The private redis-server: a real one, shared while it runs, stopped and saved afterwards."""

import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from contract.errors import StoreError
from contract.local_redis import private_redis, redis_url


@pytest.fixture(autouse=True)
def _no_server_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REDIS_URL", raising=False)


def test_it_starts_is_shared_and_keeps_its_data(tmp_path: Path) -> None:
    with redis_url(folder=tmp_path) as first:
        with redis_url(folder=tmp_path) as second, Redis.from_url(second) as redis:
            redis.set("key", "value")
        assert first == second
        with Redis.from_url(first) as redis:  # the inner block did not stop what it shared
            assert redis.get("key") == b"value"
    with redis_url(folder=tmp_path) as again, Redis.from_url(again) as redis:
        assert redis.get("key") == b"value"


def test_whoever_leaves_last_stops_it(tmp_path: Path) -> None:
    first, second = redis_url(folder=tmp_path), redis_url(folder=tmp_path)
    url = first.__enter__()
    assert second.__enter__() == url
    with Redis.from_url(url) as redis:
        first.__exit__(None, None, None)  # it started the server, but is not the last to use it
        assert redis.ping()
        second.__exit__(None, None, None)
        with pytest.raises(RedisError):
            redis.ping()


def test_a_server_whose_user_was_killed_is_taken_over_and_stopped(tmp_path: Path) -> None:
    lines = (
        "import os, pathlib, sys",
        "from contract.local_redis import redis_url",
        "with redis_url(folder=pathlib.Path(sys.argv[1])): os._exit(9)",
    )
    code = "\n".join(lines)
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == 9
    left = f"unix://{tmp_path}/redis.sock"
    with Redis.from_url(left) as redis:
        assert redis.ping()
        with redis_url(folder=tmp_path) as url:
            assert url == left
        with pytest.raises(RedisError):
            redis.ping()


def test_a_server_that_cannot_save_is_stopped_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "redis"
    folder.mkdir()
    with private_redis(folder) as url, Redis.from_url(url) as redis:
        redis.set("key", "value")
        (folder / "dump.rdb").mkdir()  # no file can take this place
    with pytest.raises(RedisError), Redis.from_url(url) as redis:
        redis.ping()


def test_a_server_that_does_not_start_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dump.rdb").write_bytes(b"this is no dump")
    monkeypatch.setattr("contract.local_redis.START_SECONDS", 1.0)
    with pytest.raises(StoreError, match=r"did not start; see .*redis\.log"), redis_url(folder=tmp_path):
        pass


def test_a_long_path_falls_back_to_a_port(tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 100)
    with redis_url(folder=folder) as url, Redis.from_url(url) as redis:
        assert url.startswith("redis://127.0.0.1:")
        assert redis.ping()


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://example:1")
    with redis_url(folder=tmp_path) as url:
        assert url == "redis://example:1"
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"no place for a private redis-server.*set REDIS_URL"),
        redis_url(folder=tmp_path / "file" / "redis"),
    ):
        pass
