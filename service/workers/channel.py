"""Messages between the parent and a worker: a word, and at most one file descriptor, over a unix socket.

Text travels as a file in memory, so that a message is never too long for the socket.
"""

import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass

UP, LOADED, GREETING, FAILED, LEAVING = b"up", b"loaded", b"greeting", b"failed", b"leaving"  # a worker's state
CONNECTION, SAMPLES, PAGE = b"connection", b"samples", b"page"  # a request's socket; metrics of one, of all
_LONGEST_WORD, _ONE_DESCRIPTOR = 16, socket.CMSG_SPACE(4)


@dataclass(frozen=True, slots=True)
class Message:
    """What came; its receiver closes the descriptor, by `text` or itself."""

    word: bytes
    descriptor: int | None = None

    def text(self) -> bytes:
        """The text that came along."""
        assert self.descriptor is not None
        with os.fdopen(self.descriptor, "rb") as file:
            return file.read()


class Channel:
    """One end. Neither side ever waits for the other: `send` raises BlockingIOError where it would."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    def fileno(self) -> int:
        """For an event loop."""
        return self._end.fileno()

    def send(self, word: bytes, text: bytes | None = None, descriptor: int | None = None) -> None:
        """OSError where the other side is full or gone."""
        if text is not None:
            with open(os.memfd_create("message"), "r+b") as file:
                file.write(text)
                file.seek(0)
                socket.send_fds(self._end, [word], [file.fileno()])
        else:
            socket.send_fds(self._end, [word], [] if descriptor is None else [descriptor])

    def receive(self) -> Iterator[Message | None]:
        """All that came; None at last where the other side has ended."""
        while True:
            try:
                # and not recv_fds, which drops the flag
                word, extra, _, _ = self._end.recvmsg(_LONGEST_WORD, _ONE_DESCRIPTOR, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except ConnectionResetError:  # it ended before it read all; its last words come next
                continue
            if not word:
                yield None
                return
            yield Message(word, int.from_bytes(extra[0][2], sys.byteorder) if extra else None)

    def close(self) -> None:
        """The other side hears of it."""
        self._end.close()


def pair() -> tuple[Channel, socket.socket]:
    """An end of our own, and the one for a worker."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(ours), theirs
