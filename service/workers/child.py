"""A worker as its parent sees it: the process, what it told, and how many connections it has."""

import asyncio
import json
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from service.process import Greeting
from service.workers.channel import CONNECTION, FAILED, GREETING, LEAVING, LOADED, PAGE, SAMPLES, UP, Message, pair
from service.workers.tally import new_tally

_SAMPLES_SECONDS = 1.0  # a worker that takes longer to tell its metrics is shown as it was
_EXIT_SECONDS = 10.0  # from its last message to its end


@dataclass(frozen=True)
class Hooks:
    """What the parent does with a worker's news."""

    changed: Callable[[], None]  # it takes connections now, or better than before, or no longer
    samples: Callable[["Child", bytes], None]  # its metrics
    page: Callable[["Child"], None]  # it was asked for the metrics of all


class Child:
    """Started by its constructor, OSError where that fails; `ended` waits for its end."""

    def __init__(self, number: int, environment: Mapping[str, str], address: str, hooks: Hooks) -> None:
        self.number, self._hooks = number, hooks
        self.up = self.loaded = self.gone = False
        self.greeting: Greeting | None = None
        self.failure: str | None = None
        self.turn = 0  # of the last connection, among all
        self._given, self._closed = 0, new_tally()
        self._asked: deque[asyncio.Future[None]] = deque()
        self._channel, end = pair()
        with end:
            try:
                self._process = _start((end.fileno(), self._closed.descriptor), environment, address)
            except OSError:
                self._channel.close()
                self._closed.close()
                raise
        self._end = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._read)

    @property
    def connections(self) -> int:
        """Open now, those on their way to it included."""
        return self._given - self._closed.value

    def give(self, connection: int, turn: int) -> None:
        """Pass a connection on. OSError where the worker cannot take it now."""
        self._channel.send(CONNECTION, descriptor=connection)
        self._given += 1
        self.turn = turn

    def show(self, page: bytes) -> None:
        """Answer its question for the metrics of all."""
        with suppress(OSError):  # gone, and so is who asked it
            self._channel.send(PAGE, text=page)

    async def tell_samples(self) -> None:
        """Ask for its metrics and wait until they came, or it ended, or it takes too long."""
        told = asyncio.get_running_loop().create_future()
        with suppress(OSError, TimeoutError):
            self._channel.send(SAMPLES)
            self._asked.append(told)
            await asyncio.wait_for(told, _SAMPLES_SECONDS)

    def drain(self) -> None:
        """Let it finish what it has, then end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    async def ended(self) -> str:
        """Why it ended, in words."""
        await self._end
        try:
            status = await asyncio.to_thread(self._process.wait, _EXIT_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._closed.close()
        return f"killed by signal {-status}, {signal.strsignal(-status)}" if status < 0 else f"exit status {status}"

    def _read(self) -> None:
        for message in self._channel.receive():
            if message is None:
                self._lose()
                return
            self._take(message)

    def _take(self, message: Message) -> None:
        word = message.word
        if word == SAMPLES:
            self._hooks.samples(self, message.text())
            _resolve(self._asked.popleft())
        elif word == PAGE:
            self._hooks.page(self)
        elif word == FAILED:
            self.failure = message.text().decode()
        elif word == GREETING:
            self.greeting = Greeting(**json.loads(message.text()))
            self._hooks.changed()
        elif word in (UP, LOADED, LEAVING):
            self.up = word != LEAVING
            self.loaded = self.loaded or word == LOADED
            self._hooks.changed()

    def _lose(self) -> None:
        self.gone = True
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._channel.close()
        for told in self._asked:
            _resolve(told)
        self._hooks.changed()
        self._end.set_result(None)


def _start(handed: tuple[int, int], environment: Mapping[str, str], address: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "service.workers.worker", *map(str, handed), address],
        env=environment,
        stdin=subprocess.DEVNULL,
        pass_fds=handed,
        process_group=0,  # Ctrl-C in the terminal is for the parent alone
    )


def _resolve(told: "asyncio.Future[None]") -> None:
    if not told.done():  # nobody waits for it any more
        told.set_result(None)
