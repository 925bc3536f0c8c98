"""A log without a service: a decision to expose, what the sink has got, and a Redis that can be stopped."""

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
from redis import Redis

from contract.local_redis import private_redis
from service.experiments.assignment import Assignment
from service.experiments.log.queue import Log
from service.experiments.source import parse_experiments
from tests.service.conftest import EXPERIMENTS

KEY = "test:log"
ASSIGNMENT = Assignment(parse_experiments(EXPERIMENTS, "test").config)
SCORES = {"ctr": np.full(4, 0.25, np.float32)}
Found = list[dict[str, Any]]


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, in an event loop of its own."""

    @wraps(test)
    def run(*args: Any, **fixtures: Any) -> None:
        asyncio.run(test(*args, **fixtures))

    return run


def expose(log: Log, count: int, first: int = 0) -> None:
    """One exposure a user, of users first, first + 1, …"""
    for n in range(first, first + count):
        user = f"u{n}"
        decision = ASSIGNMENT.decide(user)
        log.expose(decision, decision.arm, "ple@v1", f"r{n}", user, 7, 4, SCORES, {})


def in_stream(redis: Redis, key: str = KEY) -> Found:
    """Records of a stream, also those that are there twice."""
    entries: Any = redis.xrange(key)
    return [json.loads(entry[b"r"]) for _, entry in entries]


def in_folder(folder: Path) -> Found:
    """Records of a folder; half a line at the end of a file is none."""
    lines = [line for file in sorted(folder.glob("*.jsonl")) for line in file.read_bytes().split(b"\n")[:-1]]
    return [json.loads(line) for line in lines]


def counted(records: Found) -> Found:
    """As a reader counts them: of each producer only numbers above the last one; none may be missing."""
    last: dict[str, int] = {}
    found = []
    for record in records:
        number = last.get(record["producer"], 0)
        if record["number"] > number:
            assert record["number"] == number + 1
            last[record["producer"]] = record["number"]
            found.append(record)
    return found


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for it."""
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.01)


@contextmanager
def stopped(process: int) -> Iterator[None]:
    """A server that takes connections and bytes, and answers nothing."""
    os.kill(process, signal.SIGSTOP)
    threads = list(Path(f"/proc/{process}/task").glob("*/stat"))
    while any(thread.read_text().rpartition(")")[2].split()[0] != "T" for thread in threads):
        time.sleep(0.001)  # a signal takes its time
    try:
        yield
    finally:
        os.kill(process, signal.SIGCONT)


def process_of(redis: Redis) -> int:
    """The server's."""
    info: Any = redis.info("server")
    return int(info["process_id"])


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, Redis]]:
    """A redis-server of its own on `folder`; started there again it has what it had."""
    folder.mkdir(exist_ok=True)
    with private_redis(folder) as url, Redis.from_url(url) as redis:
        yield url, redis
