"""Whether a peer gives ONNX Runtime's scores on the same inputs: asked once, before anything is measured."""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from redis import Redis

from contract.bundle import read_bundle
from contract.errors import ConfigError, StoreError
from contract.rows import scan_pattern
from loadtest.floors import Scorer, Source
from loadtest.peers.registry import Peer
from loadtest.peers.spec import item_keys, user_keys

ROOT = Path(__file__).parents[2]
START_SECONDS = 120.0
TOLERANCE = 1e-6
CANDIDATES = 40


@dataclass(frozen=True)
class Asking:
    """A server that may not be up yet."""

    url: str
    enter: tuple[str, ...]
    process: subprocess.Popen[bytes]
    log: Path


def check(peer: Peer, source: Source, asking: Asking) -> None:
    """Wait for an answer; ConfigError where none comes or its scores are not ONNX Runtime's."""
    user, items = _stored(source)
    scorer, tasks = Scorer(source), read_bundle(source.bundle).manifest.tasks
    expected = dict(zip(tasks, scorer.run(scorer.inputs(user, items)), strict=True))
    got = peer.scores(_answer(peer, asking, peer.body(user, items)))
    if sorted(got) != sorted(expected):
        raise ConfigError(f"{peer.name}: gave scores of {', '.join(got)}, not of {', '.join(expected)}")
    for task, scores in expected.items():
        if len(got[task]) != len(scores) or not np.allclose(got[task], scores, rtol=0, atol=TOLERANCE):
            raise ConfigError(f"{peer.name}: its scores of {task} are not those of ONNX Runtime on the same inputs")


def _stored(source: Source) -> tuple[str, list[str]]:
    """A user and items that are stored, and one item that is not."""
    redis = Redis.from_url(source.redis)
    found = []
    for start, count in ((user_keys(source), 1), (item_keys(source), CANDIDATES)):
        keys = islice(redis.scan_iter(scan_pattern(start), count=1_000), count)
        found.append([key.decode().removeprefix(start) for key in keys])
    users, items = found
    if not users or not items:
        raise StoreError(f"{source.redis}: no users or items under '{source.prefix}'; load them: python -m export")
    return users[0], [*items, "no such item"]


def _answer(peer: Peer, asking: Asking, body: str) -> bytes:
    """The first answer; ConfigError with the last line of the log where the server ends or stays silent."""
    command = [*asking.enter, sys.executable, "-m", "loadtest.peers.probe", asking.url, str(START_SECONDS)]
    with tempfile.TemporaryFile() as asked:
        asked.write(body.encode())
        asked.seek(0)
        probe = subprocess.Popen(command, cwd=ROOT, stdin=asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with probe:
        while True:
            try:
                reply, refusal = probe.communicate(timeout=0.2)
            except subprocess.TimeoutExpired:
                if asking.process.poll() is None:
                    continue
                probe.kill()
                raise ConfigError(f"{peer.name}: ended before it answered: {_last_line(asking.log)}") from None
            if probe.returncode:
                raise ConfigError(f"{peer.name}: no answer: {refusal.decode().strip()}; {_last_line(asking.log)}")
            return reply


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"
