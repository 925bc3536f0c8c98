"""Connections that no worker can take at the moment."""

import asyncio
import os
import socket
from typing import cast

from service.workers.balance import Balance
from service.workers.child import Child


class Full:
    """A worker whose channel is full for the first few connections."""

    up = loaded = True
    gone = False
    connections = turn = 0

    def __init__(self, refusals: int) -> None:
        self.refusals, self.given = refusals, asyncio.Event()

    def give(self, connection: int, turn: int) -> None:
        """As Child's."""
        if self.refusals:
            self.refusals -= 1
            raise BlockingIOError
        self.taken = os.dup(connection)
        self.given.set()


def test_the_last_connection_is_given_though_no_other_comes() -> None:
    async def job() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()):
            child = Full(refusals=3)
            balance = Balance(listener)
            balance.among([cast(Child, child)])
            async with asyncio.timeout(5):
                await child.given.wait()
            os.close(child.taken)
            balance.close()

    asyncio.run(job())
