"""Each peer has a program and pinned packages, and understands its own replies."""

import json

import pytest

from loadtest.peers.lookup import FEAST
from loadtest.peers.registry import HERE, PEERS, Peer


@pytest.mark.parametrize("peer", PEERS.values(), ids=str)
def test_a_peer_has_its_program(peer: Peer) -> None:
    assert (HERE / f"{peer.module.rpartition('.')[2]}.py").is_file()


@pytest.mark.parametrize("peer", [*PEERS.values(), FEAST], ids=str)
def test_every_version_is_pinned(peer: Peer) -> None:
    lines = peer.requirements.read_text().splitlines()
    assert lines
    assert all("==" in line for line in lines)
    assert peer is FEAST or "onnxruntime==1.31.1" in lines  # one runtime for all: servers are compared, not runtimes


def test_bodies_are_what_each_protocol_takes() -> None:
    assert json.loads(PEERS["litserve"].body("u", ["a", "b"])) == {"user": {"id": "u"}, "item_ids": ["a", "b"]}
    user, items = json.loads(PEERS["triton"].body("u", ["a", "b"]))["inputs"]
    assert user == {"name": "user", "shape": [1], "datatype": "BYTES", "data": ["u"]}
    assert items == {"name": "item_ids", "shape": [2], "datatype": "BYTES", "data": ["a", "b"]}
    assert "\n" not in PEERS["mlserver"].body("u", ["a"] * 500)


@pytest.mark.parametrize(
    ("name", "reply"),
    [
        ("bentoml", {"scores": {"ctr": [0.1, 0.2]}}),
        ("fastapi", {"items": [{"item_id": "a", "scores": {"ctr": 0.1}}, {"item_id": "b", "scores": {"ctr": 0.2}}]}),
        ("mlserver", {"outputs": [{"name": "ctr", "data": [0.1, 0.2]}]}),
    ],
)
def test_replies_become_scores_by_task(name: str, reply: object) -> None:
    assert PEERS[name].scores(json.dumps(reply).encode()) == {"ctr": [0.1, 0.2]}
