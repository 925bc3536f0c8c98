"""FastAPI tuned by hand: no pydantic, columns through orjson, bytes as they are, one process a core.

Connections go to the processes in turn: with `--workers` the kernel can give one of them nearly all.
"""

import asyncio
import gc
import multiprocessing
import signal
import socket
from collections.abc import Callable
from multiprocessing.connection import wait
from pathlib import Path

import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from loadtest.peers.scorer import Scorer, job


def create_app(spec: Path) -> FastAPI:
    """The application of one process; the handler blocks its loop, which has nothing better to do."""
    app, scorer = FastAPI(openapi_url=None), Scorer(spec)

    @app.post("/score")
    async def score(request: Request) -> Response:
        asked = orjson.loads(await request.body())
        return Response(scorer.reply(asked["user"]["id"], asked["item_ids"]), media_type="application/json")

    return app


class Server(uvicorn.Server):
    """Serves connections that another process accepted."""

    def __init__(self, config: uvicorn.Config, accepted: socket.socket) -> None:
        super().__init__(config)
        self._accepted = accepted

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen to the other process alone."""
        await super().startup(sockets=[])
        self._accepted.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._accepted, self._receive)

    def _receive(self) -> None:
        _, descriptors, _, _ = socket.recv_fds(self._accepted, 1, 1)
        for descriptor in descriptors:
            connection = socket.socket(fileno=descriptor)
            self._serving = self._loop.create_task(self._loop.connect_accepted_socket(self._protocol, connection))

    def _protocol(self) -> asyncio.Protocol:
        protocol: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


def _work(spec: Path, accepted: socket.socket) -> None:
    app = create_app(spec)
    gc.collect()
    gc.freeze()
    config = uvicorn.Config(app, loop="uvloop", http="httptools", ws="none", lifespan="off", log_level="warning")
    Server(config, accepted).run()


def main() -> None:
    """Accept, and hand each connection to the next process."""
    signal.signal(signal.SIGTERM, lambda *_: exit(0))
    context = multiprocessing.get_context("spawn")
    pairs = [socket.socketpair() for _ in range(job().processes)]
    workers = [context.Process(target=_work, args=(job().spec, theirs), daemon=True) for _, theirs in pairs]
    for worker in workers:
        worker.start()
    with socket.create_server(("127.0.0.1", job().port), backlog=1_024) as listening:
        turn = 0
        while not wait([worker.sentinel for worker in workers], timeout=0):
            connection, _ = listening.accept()
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                socket.send_fds(pairs[turn][0], [b"."], [connection.fileno()])
            turn = (turn + 1) % len(pairs)


if __name__ == "__main__":
    main()
