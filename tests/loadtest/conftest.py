"""A bundle, rows in a real Redis, and a small HTTP server that answers /score as designed."""

import json
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from redis import Redis

from contract.bundle import Manifest, new_bundle
from contract.dictionary import Dictionary
from contract.local_redis import private_redis
from contract.rows import layout, live_key, redis_key
from contract.schema import Field, Kind, Schema, Side, Task

USERS, ITEMS = 30, 60
GENDERS, BRANDS = ("f", "m", "other"), tuple(f"brand {i}" for i in range(9))


@dataclass(frozen=True)
class Loaded:
    """Where the bundle and its rows are."""

    bundles: Path
    redis: str
    schema: Schema


@dataclass
class Service:
    """A server on a free port: what it was asked, and how it is told to misbehave."""

    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    fault: str = ""  # "short", "nan", "outside", "order", "status"
    ready: bool = True
    delay: float = 0.0  # seconds that each reply takes; one at a time where `single` is set
    single: bool = False
    memory: float = 1e8  # what /metrics tells; grows by `leak` bytes at each look
    leak: float = 0.0
    _one: Lock = field(default_factory=Lock)

    def reply(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """The reply to one POST /score."""
        self.bodies.append(body)
        with self._one if self.single else nullcontext():
            time.sleep(self.delay)
        if self.fault == "status":
            return 503, {"title": "too busy", "status": 503, "detail": f"request {len(self.bodies)}"}
        ids = body.get("item_ids") or [item["id"] for item in body["items"]]
        scores: dict[str, list[float | None]] = {task: [0.25] * len(ids) for task in ("ctr", "cvr", "ctcvr")}
        scores["cvr"][-1] = {"nan": None, "outside": 1.5}.get(self.fault, 0.25)
        if self.fault == "short":
            scores["cvr"].pop()
        echoed = ids[::-1] if self.fault == "order" else ids
        return 200, {"item_ids": echoed, "scores": scores, "model": {"name": "ple", "version": "1"}, "degraded": []}

    def page(self, path: str) -> bytes:
        """The reply to a GET."""
        if path == "/models":
            return b'[{"name": "ple", "version": "1"}]'
        if path != "/metrics":
            return b"{}"
        self.memory += self.leak
        spent = 0.002 * len(self.bodies)
        return f"process_resident_memory_bytes {self.memory}\nprocess_cpu_seconds_total {spent}\n".encode()


def make_schema() -> Schema:
    """Every kind of field on the side where a load test meets it."""
    fields = (
        Field(name="gender", side=Side.USER, size=4, lineage="g"),
        Field(name="age", side=Side.USER, kind=Kind.NUMERIC, mean=40, scale=10),
        Field(name="scene", side=Side.CONTEXT, size=4, lineage="s"),
        Field(name="brands", side=Side.ITEM, kind=Kind.MULTI, max_length=3, size=10, lineage="b"),
        Field(name="price", side=Side.ITEM, kind=Kind.NUMERIC, transform="log1p", mean=3, scale=1),
        Field(name="position", side=Side.CROSS, kind=Kind.NUMERIC),
    )
    tasks = (Task(name="ctr", label="click"), Task(name="cvr", label="buy", space="ctr"))
    return Schema(user_key="user", item_key="item", fields=fields, tasks=tasks)


def make_dictionaries() -> dict[str, Dictionary]:
    """Raw values of the categorical fields."""
    values = {"gender": GENDERS, "scene": ("home", "search"), "brands": BRANDS}
    return {name: Dictionary.build({value: 9 - i for i, value in enumerate(known)}) for name, known in values.items()}


def _write_graph(path: Path) -> None:
    """ctr is the sigmoid of the price, cvr that of the first id of the request: enough to see which rows came in."""
    kinds = {"ids": TensorProto.INT32, "dense": TensorProto.FLOAT}
    names = [(f"{side}_{kind}", kinds[kind], (side[0], None)) for side in ("request", "item") for kind in kinds]
    inputs = [helper.make_tensor_value_info(name, kind, list(shape)) for name, kind, shape in names]
    inputs.append(helper.make_tensor_value_info("request_of_item", TensorProto.INT32, ["i"]))
    nodes = [
        helper.make_node("Gather", ["item_dense", "first"], ["price"], axis=1),
        helper.make_node("Sigmoid", ["price"], ["ctr"]),
        helper.make_node("Gather", ["request_ids", "first"], ["gender"], axis=1),
        helper.make_node("Gather", ["gender", "request_of_item"], ["gender_of_item"]),
        helper.make_node("Cast", ["gender_of_item"], ["logit"], to=TensorProto.FLOAT),
        helper.make_node("Sigmoid", ["logit"], ["cvr"]),
    ]
    outputs = [helper.make_tensor_value_info(task, TensorProto.FLOAT, ["i"]) for task in ("ctr", "cvr")]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [helper.make_tensor("first", TensorProto.INT64, [], [0])])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def _write_bundle(root: Path, schema: Schema, dictionaries: dict[str, Dictionary]) -> None:
    manifest = Manifest(
        model="ple",
        version="1",
        tasks=("ctr", "cvr"),
        fingerprint=schema.fingerprint(),
        dictionary_sizes={},
        opset=20,
        source_commit="none",
        dataset="made up",
        rows=0,
        metrics={},
        recipe={},
        parity=0.0,
        macs={},
        created="2026-11-22",
    )
    with new_bundle(root, manifest) as folder:
        schema.save(folder / "schema.json")
        _write_graph(folder / "model.onnx")
        (folder / "dictionaries").mkdir()
        for name, dictionary in dictionaries.items():
            dictionary.save(folder / "dictionaries" / f"{name}.npz")


def _load_rows(url: str, schema: Schema, dictionaries: dict[str, Dictionary]) -> None:
    redis, fingerprint = Redis.from_url(url), schema.fingerprint()
    for side, kind, count in ((Side.USER, "u", USERS), (Side.ITEM, "i", ITEMS)):
        shape = layout(schema, dictionaries, side)
        ids = np.ones((count, len(shape.default_ids)), np.int32)
        dense = np.linspace(0, 1, count, endpoint=False, dtype=np.float32)[:, None]
        for generation in ("new", "old"):  # what a replaced generation holds must not be asked for
            keys = [redis_key("twinscore", fingerprint, generation, kind, f"{generation}:{i}") for i in range(count)]
            redis.mset(dict(zip(keys, shape.encode(ids, dense), strict=True)))
    redis.set(live_key("twinscore", fingerprint), "new")


@pytest.fixture(scope="session")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """One bundle and its rows, in two generations of which one is live."""
    folder, schema, dictionaries = tmp_path_factory.mktemp("loaded"), make_schema(), make_dictionaries()
    _write_bundle(folder / "bundles", schema, dictionaries)
    (folder / "redis").mkdir()
    with private_redis(folder / "redis") as url:
        _load_rows(url, schema, dictionaries)
        yield Loaded(folder / "bundles", url, schema)


@pytest.fixture
def service() -> Iterator[Service]:
    """The server, running."""
    state = Service()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._send(200 if state.ready else 503, state.page(self.path))

        def do_POST(self) -> None:
            status, content = state.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._send(status, json.dumps(content).encode())

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    state.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield state
    server.shutdown()
    thread.join()
    server.server_close()
