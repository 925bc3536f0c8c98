"""uvicorn as the service runs it, and the one process that serves on its own."""

import asyncio
import socket
import sys
from contextlib import suppress
from types import FrameType

import uvicorn

from service.app import create_app
from service.example import example_curl
from service.lifecycle import Service
from service.process import DRAIN_SECONDS, Greeting
from service.settings import Settings

# an engine thread back from a run waits this long for a busy loop, not 5 ms; with one engine the loop waits as well,
# and switching less often costs less
_SWITCH_SECONDS = 0.0005


class Server(uvicorn.Server):
    """An app of these settings. /readyz is false the moment it is told to end."""

    def __init__(self, settings: Settings) -> None:
        if settings.engine_threads > 1:
            sys.setswitchinterval(_SWITCH_SECONDS)
        app = create_app(settings)
        self.service: Service = app.state.service
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            date_header=False,
            timeout_graceful_shutdown=DRAIN_SECONDS,
        )
        super().__init__(config)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or Ctrl-C."""
        self.service.draining = True
        super().handle_exit(sig, frame)

    async def greeting(self, address: str) -> Greeting | None:
        """Wait until the models are ready; without them the server ends, and there is nothing to say."""
        await self.service.loaded.wait()
        if self.service.failure is not None:
            self.should_exit = True
            return None
        wrong = await self.service.store.ping()
        warning = None if wrong is None else f"Redis: {wrong}; scoring with default features until it answers"
        return Greeting(self.service.load_seconds, warning, await example_curl(self.service, address))


async def serve_alone(settings: Settings, listener: socket.socket, address: str) -> None:
    """One process for all. Raises what kept the models from loading."""
    server = Server(settings)
    serving = asyncio.create_task(server.serve([listener]))
    announcing = asyncio.create_task(_announce(server, address))
    try:
        await serving
    finally:
        announcing.cancel()
        with suppress(asyncio.CancelledError):
            await announcing
    if server.service.failure is not None:
        raise server.service.failure


async def _announce(server: Server, address: str) -> None:
    if (greeting := await server.greeting(address)) is not None:
        greeting.show(address)
