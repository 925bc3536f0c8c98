"""Accepts connections and gives each to the worker that has the fewest."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress

from service.workers.child import Child

_BACKLOG = 2048
_AT_ONCE = 64  # accepted before other work has a turn
_PAUSE_SECONDS = 0.01  # where no worker can take more, or no descriptor is free


class Balance:
    """A listening socket before workers. It listens from the first that is up; what is ready goes before what loads.

    Sockets shared by the workers would leave the choice to the kernel, which knows nothing of connections that stay
    open: of eight, one of two workers can get seven.
    """

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._children: Sequence[Child] = []
        self._turn = 0
        self._held: socket.socket | None = None  # accepted, and nobody could take it yet
        self._reading = self._closed = False

    def among(self, children: Sequence[Child]) -> None:
        """Who takes connections from now on."""
        up = [child for child in children if child.up and not child.gone]
        self._children = [child for child in up if child.loaded] or up
        if not self._children:
            self._pause()
        elif not self._reading and not self._closed:
            self._resume()

    def close(self) -> None:
        """Accept no more."""
        self._pause()
        self._closed = True
        self._listener.close()
        if self._held is not None:
            self._held.close()

    def _resume(self) -> None:
        if self._closed or self._reading or not self._children:
            return
        self._reading = True
        self._listener.setblocking(False)
        self._listener.listen(_BACKLOG)
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)
        if self._held is not None:  # it may be the last: then the listener has nothing more to tell
            self._accept()

    def _pause(self) -> None:
        if self._reading:
            self._reading = False
            asyncio.get_running_loop().remove_reader(self._listener.fileno())

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                connection = self._held or self._listener.accept()[0]
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError:  # no descriptor is free
                self._wait()
                return
            self._held = None if self._give(connection) else connection
            if self._held is not None:
                self._wait()
                return
            connection.close()

    def _give(self, connection: socket.socket) -> bool:
        """Whether a worker took it."""
        self._turn += 1
        for child in sorted(self._children, key=lambda child: (child.connections, child.turn)):
            with suppress(OSError):
                child.give(connection.fileno(), self._turn)
                return True
        return False

    def _wait(self) -> None:
        self._pause()
        asyncio.get_running_loop().call_later(_PAUSE_SECONDS, self._resume)
