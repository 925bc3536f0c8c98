"""The parent of the workers: starts them, replaces one that dies, ends them all. It holds no model."""

import asyncio
import os
import signal
import socket
import sys
from contextlib import suppress
from time import monotonic

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from contract.errors import TwinscoreError
from service.process import DRAIN_SECONDS, leave_on_signals
from service.settings import PREFIX, Settings
from service.workers.balance import Balance
from service.workers.child import Child, Hooks
from service.workers.totals import Totals

_FIRST_DELAY, _LONGEST_DELAY = 0.5, 30.0  # seconds before a successor starts
_STEADY_SECONDS = 60.0  # a worker that lived this long did not die of its start
_TOO_LARGE = "; if memory ran out, set a smaller TWINSCORE_WORKERS, since each holds its own models"
_KILL_SECONDS = DRAIN_SECONDS + 5.0


async def serve_workers(settings: Settings, listener: socket.socket, address: str) -> None:
    """Serve until SIGTERM or Ctrl-C; a second Ctrl-C is a KeyboardInterrupt. TwinscoreError where the start fails."""
    parent = Parent(settings, listener, address)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, parent.end, number)
    try:
        await parent.serve()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
        leave_on_signals()


class Parent:
    """A start is all or nothing: until every worker was ready once, the end of one is the end of all."""

    def __init__(self, settings: Settings, listener: socket.socket, address: str) -> None:
        own = {"REDIS_URL": settings.redis_url or "", f"{PREFIX}WORKERS": str(settings.processes)}
        self._environment = os.environ | own
        self._workers, self._address = settings.processes, address
        self._balance, self._totals = Balance(listener), Totals()
        self._children: dict[int, Child] = {}
        self._complete = self._interrupted = False
        self._ending = asyncio.Event()
        self._failure: TwinscoreError | None = None
        self._pages: set[asyncio.Task[None]] = set()
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._deaths = Counter("twinscore_worker_deaths", "Workers that ended unasked", registry=self._registry)
        self._connections = Gauge(
            "twinscore_worker_connections", "Connections that are open", ["worker"], registry=self._registry
        )
        self._ready = Gauge(
            "twinscore_worker_ready", "1 once its models are loaded", ["worker"], registry=self._registry
        )

    async def serve(self) -> None:
        """From the first worker's start to the last one's end."""
        keepers = [asyncio.create_task(self._keep(number)) for number in range(self._workers)]
        ending = asyncio.create_task(self._ending.wait())
        await asyncio.wait([ending, *keepers], return_when=asyncio.FIRST_COMPLETED)  # a keeper only by a fault of ours
        self._ending.set()
        self._balance.close()
        for child in self._children.values():
            child.kill() if self._failure else child.drain()
        await asyncio.wait(keepers, timeout=_KILL_SECONDS)
        self._kill()
        await asyncio.gather(*keepers)
        if self._failure is not None:
            raise self._failure
        if self._interrupted:
            raise KeyboardInterrupt

    def end(self, number: int) -> None:
        """A signal came."""
        if self._ending.is_set() and number == signal.SIGINT:
            self._interrupted = True
            self._kill()
        self._ending.set()

    def _kill(self) -> None:
        for child in self._children.values():
            child.kill()

    async def _keep(self, number: int) -> None:
        """A worker of this number, and after it another, until all end."""
        delay = _FIRST_DELAY / 2
        while True:
            started = monotonic()
            why = await self._live(number)
            if not self._complete and not self._ending.is_set():
                self._failure = TwinscoreError(f"{why}{_TOO_LARGE if 'signal 9' in why else ''}")
                self._ending.set()
            if self._ending.is_set():
                return
            self._deaths.inc()
            delay = _FIRST_DELAY if monotonic() - started > _STEADY_SECONDS else min(2 * delay, _LONGEST_DELAY)
            print(f"warning: {why}; its successor starts in {delay:g} s", file=sys.stderr, flush=True)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), delay)
                return

    async def _live(self, number: int) -> str:
        """One worker from its start to its end, and why that came."""
        hooks = Hooks(self._changed, self._noted, self._asked)
        try:
            child = self._children[number] = Child(number, self._environment, self._address, hooks)
        except OSError as error:  # no memory, or no process more
            return f"worker {number} could not be started: {error.strerror}"
        cause = await child.ended()
        del self._children[number]
        self._totals.retire(number)
        return child.failure or f"worker {number} ended: {cause}"

    def _changed(self) -> None:
        self._balance.among(list(self._children.values()))
        greetings = [child.greeting for child in self._children.values() if child.greeting is not None]
        if not self._complete and len(greetings) == self._workers:
            self._complete = True
            greetings[-1].show(self._address)

    def _noted(self, child: Child, samples: bytes) -> None:
        self._totals.note(child.number, samples)

    def _asked(self, child: Child) -> None:
        task = asyncio.create_task(self._answer(child))
        self._pages.add(task)
        task.add_done_callback(self._pages.discard)

    async def _answer(self, asker: Child) -> None:
        """Ask every worker, and give the asker the page of all."""
        await asyncio.gather(*(child.tell_samples() for child in self._children.values() if child.up))
        for gauge in (self._connections, self._ready):
            gauge.clear()
        for number, child in self._children.items():
            self._connections.labels(number).set(child.connections)
            self._ready.labels(number).set(child.loaded)
        asker.show(self._totals.page(self._registry))
