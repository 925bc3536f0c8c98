"""Warnings on stderr, of one process for all workers that would say the same."""

import os
import socket
import sys


class Voice:
    """The first worker that has something to say speaks for all, until it ends; a process on its own always does."""

    def __init__(self, processes: int) -> None:
        # a name that the kernel holds while its owner lives
        self._name = f"\0twinscore-voice-{os.getppid()}" if processes > 1 else None
        self._held: socket.socket | None = None

    def warn(self, text: str) -> None:
        """One line."""
        if self._speaks():
            print(f"warning: {text}", file=sys.stderr, flush=True)

    def _speaks(self) -> bool:
        if self._name is None or self._held is not None:
            return True
        held = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            held.bind(self._name)
        except OSError:
            held.close()
            return False
        self._held = held
        return True

    def close(self) -> None:
        """Let another speak."""
        if self._held is not None:
            self._held.close()
            self._held = None
