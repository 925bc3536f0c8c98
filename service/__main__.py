"""Serve: `python -m service`. HOST, PORT, REDIS_URL and TWINSCORE_* set it up; see service/settings.py."""

import asyncio
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType

import uvicorn
import uvloop

from contract.command import run
from contract.errors import ConfigError
from contract.local_redis import redis_url
from service.app import create_app
from service.example import example_curl
from service.lifecycle import Service
from service.settings import Settings, read_settings

DRAIN_SECONDS = 5
SWITCH_SECONDS = 0.0005  # an engine thread back from a run waits this long for a busy loop, not Python's 5 ms


def main() -> int:
    """Listen, start Redis where none is given, serve until Ctrl-C or SIGTERM."""
    settings = read_settings()
    sys.setswitchinterval(SWITCH_SECONDS)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    with _listen(settings) as listener, redis_url(settings.redis_url) as url:
        settings = settings.model_copy(update={"redis_url": url})
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, listener))
    return 0


def _leave(number: int, frame: FrameType | None) -> None:
    """Unwind, so that what was started is stopped; uvicorn raises the signal again once it has drained."""
    raise SystemExit(0)


def _listen(settings: Settings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[
            0
        ]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {reason.lower()}; set HOST or PORT"
        ) from None
    return listener


async def _serve(settings: Settings, listener: socket.socket) -> None:
    app = create_app(settings)
    service: Service = app.state.service
    config = uvicorn.Config(
        app,
        http="httptools",
        access_log=False,
        log_level="warning",
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve([listener]))
    announcing = asyncio.create_task(_announce(service, server, _address(listener)))
    try:
        await serving
    finally:
        announcing.cancel()
        with suppress(asyncio.CancelledError):
            await announcing
    if service.failure is not None:
        raise service.failure


async def _announce(service: Service, server: uvicorn.Server, address: str) -> None:
    await service.loaded.wait()
    if service.failure is not None:
        server.should_exit = True
        return
    wrong = await service.store.ping()
    if wrong is not None:
        print(f"warning: Redis: {wrong}; scoring with default features until it answers", file=sys.stderr)
    print(f"serving on {address} (models ready in {service.load_seconds:.1f} s); try:", flush=True)
    print(await example_curl(service, address), flush=True)


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


if __name__ == "__main__":
    sys.exit(run(main))
