"""The peers: how each is named, addressed, asked and understood."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType

HERE = Path(__file__).parent


class Protocol(Enum):
    """Shapes of body and reply."""

    COLUMNS = "body as the service takes it; a list of scores a task"
    ITEMS = "body as the service takes it; an object an item"
    V2 = "Open Inference Protocol, ids as BYTES tensors"


@dataclass(frozen=True)
class Peer:
    """One server; its program is `<module>.py`, its versions are pinned in `requirements/<name>.txt`."""

    name: str
    path: str = "/score"
    protocol: Protocol = Protocol.COLUMNS
    isolated: bool = False  # listens on more than 127.0.0.1, so it runs in a network of its own

    @property
    def module(self) -> str:
        """What `python -m` runs."""
        return f"loadtest.peers.{self.name.replace('-', '_')}_server"

    @property
    def requirements(self) -> Path:
        """Its pinned packages."""
        return HERE / "requirements" / f"{self.name}.txt"

    def body(self, user: str, items: list[str]) -> str:
        """The JSON of a request; one line."""
        if self.protocol is not Protocol.V2:
            return json.dumps({"user": {"id": user}, "item_ids": items})
        tensors = {"user": [user], "item_ids": items}
        inputs = [
            {"name": name, "shape": [len(data)], "datatype": "BYTES", "data": data} for name, data in tensors.items()
        ]
        return json.dumps({"inputs": inputs})

    def scores(self, reply: bytes) -> dict[str, list[float]]:
        """Scores by task, in the order of the request."""
        content = json.loads(reply)
        if self.protocol is Protocol.COLUMNS:
            return dict(content["scores"])
        if self.protocol is Protocol.V2:
            return {output["name"]: output["data"] for output in content["outputs"]}
        items = content["items"]
        return {task: [item["scores"][task] for item in items] for task in items[0]["scores"]}


_V2_PATH = "/v2/models/score/infer"
_ALL = (
    Peer("fastapi", protocol=Protocol.ITEMS),
    Peer("fastapi-tuned"),
    Peer("litserve"),
    Peer("bentoml"),
    Peer("mlserver", _V2_PATH, Protocol.V2),
    Peer("ray-serve", isolated=True),
    Peer("triton", _V2_PATH, Protocol.V2),
)
PEERS: Mapping[str, Peer] = MappingProxyType({peer.name: peer for peer in _ALL})
