"""What every peer does for a request: one MGET, packed rows into the graph's inputs, one session.run on one thread.

Runs in the peers' own environments, so it imports numpy, redis, onnxruntime and orjson alone; what it must know of
the bundle comes as a JSON file that `spec.write_spec` wrote. `loadtest.floors` is the same work without a server.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import orjson
from numpy.typing import NDArray
from redis import Redis

from loadtest.peers.packed import Rows

Array = NDArray[Any]

SPEC, PORT, PROCESSES = "PEER_SPEC", "PEER_PORT", "PEER_PROCESSES"


@dataclass(frozen=True)
class Job:
    """What a server is started with."""

    spec: Path
    port: int
    processes: int


def job() -> Job:
    """The job that `serving` put into the environment."""
    return Job(Path(os.environ[SPEC]), int(os.environ[PORT]), int(os.environ[PROCESSES]))


class Scorer:
    """A connection to Redis and a session of one thread."""

    def __init__(self, spec: Path) -> None:
        content = json.loads(spec.read_text(encoding="utf-8"))
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = ort.InferenceSession(content["model"], options, providers=["CPUExecutionProvider"])
        self._wanted = {tensor.name for tensor in self._session.get_inputs()}
        self.tasks: list[str] = [tensor.name for tensor in self._session.get_outputs()]
        self._redis = Redis.from_url(content["redis"])
        self._user, self._item = Rows(content["user"]), Rows(content["item"])
        defaults = content["context"], content["cross"]
        self._ids = [np.array([side["ids"]], np.int32) for side in defaults]  # [1, slots] each
        self._dense = [np.array([side["dense"]], np.float32) for side in defaults]

    def inputs(self, user: str, items: Sequence[str]) -> dict[str, Array]:
        """The graph's inputs; context and cross fields hold their defaults."""
        keys = self._user.keys([user]) + self._item.keys(items)
        rows = cast(list[bytes | None], self._redis.mget(keys))
        user_ids, user_dense = self._user.decode(rows[:1])
        item_ids, item_dense = self._item.decode(rows[1:])
        whole = {
            "request_ids": np.hstack([user_ids, self._ids[0]]),
            "request_dense": np.hstack([user_dense, self._dense[0]]),
            "item_ids": np.hstack([item_ids, self._ids[1].repeat(len(items), axis=0)]),
            "item_dense": np.hstack([item_dense, self._dense[1].repeat(len(items), axis=0)]),
            "request_of_item": np.zeros(len(items), np.int32),
        }
        return {name: array for name, array in whole.items() if name in self._wanted}

    def score(self, user: str, items: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Scores [N] by task."""
        return dict(zip(self.tasks, self._session.run(None, self.inputs(user, items)), strict=True))

    def reply(self, user: str, items: Sequence[str]) -> bytes:
        """The body of a columnar reply."""
        content = {"item_ids": items, "scores": self.score(user, items)}
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
