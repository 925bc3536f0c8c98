"""What no service around this model can beat on this machine: the model alone, and the model between Redis and JSON.

Each floor runs in processes of its own, one thread each, over the same requests as the service.
"""

import json
import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import numpy as np
import onnxruntime as ort
import orjson
from numpy.typing import NDArray
from redis import Redis

from contract.bundle import Arrays, read_bundle
from contract.rows import layout, live_key, redis_key
from contract.schema import Side
from loadtest.http_load import Figures, figures

MODEL, WHOLE = "session.run alone", "MGET, run, orjson"
_SAMPLE = 8  # requests whose inputs are kept for the model alone


@dataclass(frozen=True)
class Source:
    """The model, and where its rows are."""

    bundle: Path
    redis: str
    prefix: str


class Scorer:
    """The work of a request without HTTP, validation, split or batching."""

    def __init__(self, source: Source) -> None:
        bundle = read_bundle(source.bundle)
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(bundle.model_path, options, providers=["CPUExecutionProvider"])
        self._tasks = [output.name for output in self._session.get_outputs()]
        self._redis, self._prefix = Redis.from_url(source.redis), source.prefix
        self._fingerprint = bundle.manifest.fingerprint
        self._generation = cast(bytes, self._redis.get(live_key(source.prefix, self._fingerprint))).decode()
        self._sides = {side: layout(bundle.schema, bundle.dictionaries, side) for side in Side}

    def inputs(self, user: str, items: list[str]) -> Arrays:
        """One MGET, decoded into the graph's inputs; context and cross fields hold their defaults."""
        keys = [self._key("u", user), *(self._key("i", item) for item in items)]
        rows = cast(list[bytes | None], self._redis.mget(keys))
        request, item = self._sides[Side.USER].decode(rows[:1]), self._sides[Side.ITEM].decode(rows[1:])
        context, cross = self._sides[Side.CONTEXT], self._sides[Side.CROSS]
        return {
            "request_ids": _beside(request.ids, context.default_ids),
            "request_dense": _beside(request.dense, context.default_dense),
            "item_ids": _beside(item.ids, cross.default_ids),
            "item_dense": _beside(item.dense, cross.default_dense),
            "request_of_item": np.zeros(len(items), np.int32),
        }

    def run(self, inputs: Arrays) -> list[NDArray[np.float32]]:
        """Scores by task, [N] each."""
        scores: list[NDArray[np.float32]] = self._session.run(None, inputs)
        return scores

    def reply(self, user: str, items: list[str]) -> bytes:
        """The body of a reply."""
        scores = dict(zip(self._tasks, self.run(self.inputs(user, items)), strict=True))
        return orjson.dumps({"item_ids": items, "scores": scores}, option=orjson.OPT_SERIALIZE_NUMPY)

    def _key(self, kind: str, key: str) -> str:
        return redis_key(self._prefix, self._fingerprint, self._generation, kind, key)


def _beside(stored: NDArray[np.generic], default: NDArray[np.generic]) -> NDArray[np.generic]:
    return np.hstack([stored, np.tile(default, (len(stored), 1))])


class Floors:
    """Worker processes that hold a session each and wait for work."""

    def __init__(self, pipes: list[Connection], pids: tuple[int, ...]) -> None:
        self._pipes, self.pids = pipes, pids

    def measure(self, floor: str, bodies: Path, seconds: float) -> Figures:
        """All workers at once; requests/s add up."""
        for pipe in self._pipes:
            pipe.send((floor, bodies, seconds))
        latencies = [latency for pipe in self._pipes for latency in pipe.recv()]
        return figures(latencies, seconds)


@contextmanager
def floors(source: Source, processes: int) -> Iterator[Floors]:
    """Start the workers; they end with the block."""
    context = multiprocessing.get_context("spawn")  # a session must not cross a fork
    pairs = [context.Pipe() for _ in range(processes)]
    workers = [context.Process(target=_work, args=(source, theirs), daemon=True) for _, theirs in pairs]
    for worker in workers:
        worker.start()
    try:
        yield Floors([ours for ours, _ in pairs], tuple(worker.pid for worker in workers if worker.pid))
    finally:
        for worker in workers:
            worker.terminate()
            worker.join()


def _work(source: Source, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started us ends us
    scorer = Scorer(source)
    while True:
        floor, bodies, seconds = pipe.recv()
        asked = [(body["user"]["id"], body["item_ids"]) for body in map(json.loads, bodies.read_text().splitlines())]
        calls: list[Callable[[], object]]
        if floor == MODEL:
            calls = [partial(scorer.run, scorer.inputs(user, items)) for user, items in asked[:_SAMPLE]]
        else:
            calls = [partial(scorer.reply, user, items) for user, items in asked]
        pipe.send(_repeat(calls, seconds))


def _repeat(calls: list[Callable[[], object]], seconds: float) -> list[float]:
    """Make the calls in turn for so long; the latencies in seconds."""
    latencies: list[float] = []
    until = time.perf_counter() + seconds
    while (began := time.perf_counter()) < until:
        calls[len(latencies) % len(calls)]()
        latencies.append(time.perf_counter() - began)
    return latencies
