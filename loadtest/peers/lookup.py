"""Feast's online look-up against one MGET of our packed rows, on a redis-server that holds both and nothing else."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from redis import Redis

from contract.errors import ConfigError, StoreError
from contract.local_redis import private_redis
from contract.rows import scan_pattern
from loadtest.floors import Source
from loadtest.peers.registry import Peer
from loadtest.peers.spec import item_keys, write_spec

FEAST = Peer("feast")  # an environment alone: it is asked in process
ITEMS = 2_000
ROOT = Path(__file__).parents[2]

Times = dict[int, dict[str, tuple[float, float]]]  # rows -> reader -> p50 and p99 in milliseconds


def measure(python: Path, source: Source, seconds: float = 5.0) -> Times:
    """Both readers in turn over the same items, so many seconds a number of rows."""
    with tempfile.TemporaryDirectory(prefix="feast-") as name:
        folder = Path(name)
        (folder / "redis").mkdir()
        with private_redis(folder / "redis") as url:
            if not url.startswith("unix://"):
                raise ConfigError(f"{folder}: too long a path for a socket; set TMPDIR to a shorter one")
            _copy_items(source, url)
            write_spec(source, folder / "spec.json")
            return _run(python, folder, url.removeprefix("unix://"), seconds)


def table(times: Times) -> str:
    """Markdown."""
    lines = ["| rows | Feast, p50 / p99 ms | one MGET, p50 / p99 ms | ratio of p50 |", "|--:|--:|--:|--:|"]
    for rows, readers in times.items():
        feast, mget = readers["Feast"], readers["MGET"]
        pairs = " | ".join(f"{p50:.2f} / {p99:.2f}" for p50, p99 in (feast, mget))
        lines.append(f"| {rows} | {pairs} | {feast[0] / mget[0]:.0f} |")
    return "\n".join(lines)


def _copy_items(source: Source, url: str) -> None:
    start = item_keys(source)
    theirs: Any = Redis.from_url(source.redis)
    keys: list[bytes] = []
    for key in theirs.scan_iter(scan_pattern(start), count=1_000):
        keys.append(key)
        if len(keys) == ITEMS:
            break
    if len(keys) < 500:
        raise StoreError(f"{source.redis}: {len(keys)} items are loaded, 500 are needed; prepare more")
    Redis.from_url(url).mset(dict(zip(keys, theirs.mget(keys), strict=True)))


def _run(python: Path, folder: Path, socket: str, seconds: float) -> Times:
    command = [str(python), "-P", "-m", "loadtest.peers.feast_lookup", str(folder / "spec.json"), socket, str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigError(f"Feast: {(done.stderr.strip().splitlines() or ['it printed nothing'])[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {
        int(rows): {reader: (pair[0], pair[1]) for reader, pair in readers.items()} for rows, readers in found.items()
    }
