"""The private redis-server: a real one, shared while it runs, stopped and saved afterwards."""

from pathlib import Path

import pytest
from redis import Redis

from contract.errors import StoreError
from contract.local_redis import redis_url


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
