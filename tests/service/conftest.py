"""A service with two tiny models, its Redis, and a client without a socket."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import Redis

from contract.local_redis import private_redis
from contract.rows import layout, live_key, redis_key
from contract.schema import Schema, Side
from service.app import create_app
from service.lifecycle import Service
from service.settings import Settings
from tests.service.bundles import SCHEMA, Graph, dictionaries, encode, write_tiny_bundle

USERS: dict[str, dict[str, Any]] = {
    "u1": {"gender": "f", "age": 1.5, "history": ["a", "c"]},
    "u2": {"gender": "m", "age": -0.5, "history": ["e"]},
    "42": {"gender": "m", "age": 2.0},
}
ITEMS: dict[str, dict[str, Any]] = {
    f"i{n}": {"category": "vwxyz"[n % 5], "price": n / 10, "brand": f"b{n}"} for n in range(40)
}
EXPERIMENTS = """\
version: 7
default_model: ple
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: dtn-vs-ple
        salt: dtn-vs-ple.1
        slots: [[0, 10000]]
        arms:
          - {name: ple, model: ple, weight: 5000}
          - {name: dtn, model: dtn, weight: 5000}
        overrides: {u-qa-1: dtn, 42: ple}
"""


@dataclass(frozen=True)
class Bundles:
    """The two models on disk."""

    root: Path
    graphs: dict[str, Graph]


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """`ple` and `dtn`, of one schema."""
    root = tmp_path_factory.mktemp("bundles")
    return Bundles(root, {"ple": write_tiny_bundle(root, "ple", 1), "dtn": write_tiny_bundle(root, "dtn", 2)})


@pytest.fixture(scope="session")
def redis_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real redis-server for the whole session."""
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


def load_rows(
    redis: Redis,
    generation: str,
    users: dict[str, dict[str, Any]],
    items: dict[str, dict[str, Any]],
    prefix: str = "twinscore",
    schema: Schema = SCHEMA,
) -> None:
    """Write one generation of feature rows; it is not live yet."""
    fingerprint = schema.fingerprint()
    for kind, side, table in (("u", Side.USER, users), ("i", Side.ITEM, items)):
        rows = layout(schema, dictionaries(schema), side).encode(*encode(schema, (side,), list(table.values())))
        for key, row in zip(table, rows, strict=True):
            redis.set(redis_key(prefix, fingerprint, generation, kind, key), row)


def make_live(redis: Redis, generation: str, prefix: str = "twinscore", schema: Schema = SCHEMA) -> None:
    """Switch readers."""
    redis.set(live_key(prefix, schema.fingerprint()), generation)


@pytest.fixture
def redis(redis_address: str) -> Iterator[Redis]:
    """The session's Redis with the tables loaded as generation g1, and nothing else."""
    client = Redis.from_url(redis_address)
    client.flushall()
    load_rows(client, "g1", USERS, ITEMS)
    make_live(client, "g1")
    yield client
    client.flushall()  # a configuration that was put in force would be so for services of other tests
    client.close()


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a service of one test keeps its last configuration."""
    monkeypatch.setenv("TWINSCORE_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def settings(bundles: Bundles, redis_address: str, redis: Redis, tmp_path: Path) -> Settings:
    """Settings of the usual service."""
    file = tmp_path / "experiments.yaml"
    file.write_text(EXPERIMENTS)
    return Settings(
        bundles=bundles.root, experiments=file, redis_url=redis_address, allow_arm_override=True, max_items=200,
        redis_timeout_ms=5000,
    )  # fmt: skip


Reply = tuple[int, dict[str, Any]]


class Client:
    """Drives an app in one event loop of its own; every call blocks."""

    def __init__(self, runner: asyncio.Runner, service: Service, http: httpx.AsyncClient) -> None:
        self.service, self.http, self._runner = service, http, runner

    def run(self, job: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine in the app's loop."""
        return self._runner.run(job)

    def get(self, path: str, **parameters: str) -> httpx.Response:
        """GET."""
        response: httpx.Response = self.run(self.http.get(path, params=parameters))
        return response

    def post(self, body: bytes, path: str = "/score") -> httpx.Response:
        """POST raw bytes."""
        response: httpx.Response = self.run(self.http.post(path, content=body))
        return response

    def score(self, body: object) -> Reply:
        """POST JSON to /score; status and decoded reply."""
        response: httpx.Response = self.run(self.http.post("/score", json=body))
        return response.status_code, response.json()

    def metric(self, name: str) -> float:
        """One sample of /metrics, by its name and labels as they are written; 0 where absent."""
        for line in self.get("/metrics").text.splitlines():
            if line.startswith(f"{name} "):
                return float(line.rsplit(" ", 1)[1])
        return 0.0


@contextmanager
def running(settings: Settings, *, wait: bool = True) -> Iterator[Client]:
    """An app of these settings, its lifespan around the block."""
    with asyncio.Runner() as runner:
        app = create_app(settings)
        service: Service = app.state.service
        lifespan = app.router.lifespan_context(app)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        http = httpx.AsyncClient(transport=transport, base_url="http://service")

        async def enter() -> None:
            await lifespan.__aenter__()
            if wait:
                await service.loaded.wait()

        async def leave() -> None:
            await http.aclose()
            await lifespan.__aexit__(None, None, None)

        runner.run(enter())
        try:
            yield Client(runner, service, http)
        finally:
            runner.run(leave())


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    """The usual service, loaded."""
    with running(settings) as client:
        assert client.service.failure is None
        yield client
