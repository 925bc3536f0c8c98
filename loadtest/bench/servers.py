"""Servers under load: our own service in one or several variants, and the peers; each started here and stopped here."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from contract.errors import ConfigError
from loadtest.floors import Source
from loadtest.payloads import Request
from loadtest.peers.environments import prepare
from loadtest.peers.registry import PEERS, Peer
from loadtest.peers.serving import serving

_STOP_SECONDS = 20.0


@dataclass(frozen=True)
class Server:
    """One that answers: where, by which processes, and how it is reached (`enter` begins a command that does)."""

    urls: tuple[str, ...]
    pids: tuple[int, ...]
    metrics: str = ""
    enter: tuple[str, ...] = ()


Start = Callable[[], AbstractContextManager[Server]]
Body = Callable[[Request], str]


@dataclass(frozen=True)
class Contestant:
    """One that is to be measured: how it is started and how it wants to be asked."""

    name: str
    start: Start
    body: Body
    ours: bool = False


@dataclass(frozen=True)
class Variant:
    """Our service with settings of its own."""

    name: str
    environment: Mapping[str, str] = field(default_factory=dict)
    arguments: tuple[str, ...] = ()


def parse_variant(text: str) -> Variant:
    """`NAME:KEY=VALUE … --argument …`, words as in a shell; ConfigError for anything else."""
    name, colon, rest = text.partition(":")
    environment, arguments = dict[str, str](), []
    try:
        words = shlex.split(rest)
    except ValueError as error:
        raise ConfigError(f"--variant {text}: {error}") from None
    for word in words:
        if re.match(r"[A-Z][A-Z0-9_]*=", word):
            key, _, environment[key] = word.partition("=")
        else:
            arguments.append(word)
    if not name.strip() or not colon or (arguments and not arguments[0].startswith("-")):
        raise ConfigError(f"--variant {text}: write 'NAME:KEY=VALUE …', arguments of the service may follow")
    return Variant(name.strip(), environment, tuple(arguments))


def ours(variant: Variant, source: Source, folder: Path) -> Contestant:
    """Our service, serving the source's model to everybody."""
    return Contestant(variant.name, partial(_service, variant, source, folder), lambda asked: asked.body, ours=True)


def peer(name: str, source: Source, processes: int) -> Contestant:
    """A peer, its environment made if need be; ConfigError where no peer has the name."""
    if name not in PEERS:
        raise ConfigError(f"--peers {name}: known are {', '.join(PEERS)}, all, none")
    found = PEERS[name]
    python = prepare(found)
    return Contestant(name, partial(_peer, found, python, source, processes), partial(_peer_body, found))


@contextmanager
def _peer(found: Peer, python: Path, source: Source, processes: int) -> Iterator[Server]:
    with serving(found, python, source, processes) as served:
        yield Server(served.urls, tuple(served.pids), enter=served.enter)


def _peer_body(found: Peer, asked: Request) -> str:
    return found.body(json.loads(asked.body)["user"]["id"], asked.item_ids)


@contextmanager
def _service(variant: Variant, source: Source, folder: Path) -> Iterator[Server]:
    """Start `python -m service` on a free port and yield when it takes traffic."""
    experiments = folder / "experiments.yaml"
    experiments.write_text(f"version: 1\ndefault_model: {source.bundle.parent.name}\nlayers: []\n")
    settings = {"HOST": "127.0.0.1", "PORT": "0", "REDIS_URL": source.redis, "TWINSCORE_REDIS_PREFIX": source.prefix}
    settings |= {"TWINSCORE_BUNDLES": str(source.bundle.parents[1]), "TWINSCORE_EXPERIMENTS": str(experiments)}
    # nobody is in an experiment here; and what is in force elsewhere shall neither come nor go
    settings |= {"TWINSCORE_LIVE": "false", "TWINSCORE_LOG": "off"}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "service", *variant.arguments],
        env=os.environ | settings | dict(variant.environment),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for us alone, and we stop it
    )
    try:
        assert process.stdout is not None
        told = next((line for line in process.stdout if line.startswith("serving on ")), None)
        if told is None:
            raise ConfigError(f"{variant.name}: the service did not start; what it printed is above")
        address = told.split()[2]
        yield Server((f"{address}/score",), (process.pid,), f"{address}/metrics")
    finally:
        _stop(process)


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
