"""A worker: serves the connections that its parent passes on, until the parent ends or ends it.

`python -m service.workers.worker CHANNEL TALLY ADDRESS`, the first two being descriptors; started by the parent alone.
"""

import asyncio
import dataclasses
import json
import socket
import sys
from collections import deque
from collections.abc import Coroutine
from contextlib import suppress
from types import FrameType
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from contract.errors import TwinscoreError
from service.errors import NOT_READY, ServiceProblem
from service.process import leave_on_signals, run_loop
from service.server import Server
from service.settings import Settings, read_settings
from service.workers.channel import CONNECTION, FAILED, GREETING, LEAVING, LOADED, PAGE, SAMPLES, UP, Channel, Message
from service.workers.tally import Tally
from service.workers.totals import samples

_PAGE_SECONDS = 3.0
_FAILED_STATUS = 2


class Connection(HttpToolsProtocol):
    """Tells when it is closed."""

    closed: Tally

    def connection_lost(self, exc: Exception | None) -> None:
        """The client or the server has closed it."""
        super().connection_lost(exc)
        self.closed.add()


class WorkerServer(Server):
    """Has no socket of its own to listen on."""

    def __init__(self, settings: Settings, channel: Channel, closed: Tally, address: str) -> None:
        super().__init__(settings)
        self._channel, self._closed, self._address = channel, closed, address
        self._pages: deque[asyncio.Future[bytes]] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self.service.metrics.gather = self._page

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the app, then take connections."""
        await super().startup(sockets=[])
        asyncio.get_running_loop().add_reader(self._channel.fileno(), self._read)
        self._channel.send(UP)
        self._keep(self._tell())

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """No more connections, please."""
        super().handle_exit(sig, frame)
        with suppress(OSError):
            self._channel.send(LEAVING)

    def _keep(self, job: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(job)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _tell(self) -> None:
        """At once that the models are loaded, and what there is to say when somebody has looked into Redis for it."""
        await self.service.loaded.wait()
        if self.service.failure is None:
            self._channel.send(LOADED)
        if (greeting := await self.greeting(self._address)) is not None:
            self._channel.send(GREETING, text=json.dumps(dataclasses.asdict(greeting)).encode())

    def _read(self) -> None:
        for message in self._channel.receive():
            if message is None:  # the parent has ended, whatever ended it
                asyncio.get_running_loop().remove_reader(self._channel.fileno())
                self.service.draining = self.should_exit = True
                return
            self._take(message)

    def _take(self, message: Message) -> None:
        if message.word == CONNECTION and message.descriptor is not None:
            self._keep(self._connect(message.descriptor))
        elif message.word == SAMPLES:
            with suppress(OSError):
                self._channel.send(SAMPLES, text=samples(self.service.metrics.registry))
        elif message.word == PAGE:
            page, text = self._pages.popleft(), message.text()
            if not page.done():
                page.set_result(text)

    async def _connect(self, descriptor: int) -> None:
        connection = socket.socket(fileno=descriptor)
        connection.setblocking(False)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(self._protocol, connection)
        except OSError:  # left before it arrived
            connection.close()
            self._closed.add()

    def _protocol(self) -> Connection:
        protocol = Connection(self.config, self.server_state, self.lifespan.state)
        protocol.closed = self._closed
        return protocol

    async def _page(self) -> bytes:
        """The metrics of all workers, from the parent."""
        page = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(PAGE)
            self._pages.append(page)
            return await asyncio.wait_for(page, _PAGE_SECONDS)
        except (OSError, TimeoutError):
            raise ServiceProblem(NOT_READY, "the workers' metrics cannot be gathered now; ask again") from None


async def _serve(channel: Channel, closed: Tally, address: str) -> None:
    server = WorkerServer(read_settings(), channel, closed, address)
    await server.serve([])
    if server.service.failure is not None:
        raise server.service.failure


def main() -> int:
    """Serve until told to end; an error that a person can act on goes to the parent, which prints it once for all."""
    leave_on_signals()
    channel, closed = Channel(socket.socket(fileno=int(sys.argv[1]))), Tally(int(sys.argv[2]))
    try:
        run_loop(_serve(channel, closed, sys.argv[3]))
    except TwinscoreError as error:
        with suppress(OSError):
            channel.send(FAILED, text=str(error).encode())
        return _FAILED_STATUS
    return 0


if __name__ == "__main__":
    sys.exit(main())
