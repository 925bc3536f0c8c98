"""How many connections a worker has closed, in memory that its parent reads: no message, no wake-up a connection."""

import mmap
import os

_BYTES = 8


class Tally:
    """A counter that one process writes and another reads."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, _BYTES)
        self._value = memoryview(self._memory).cast("Q")  # eight aligned bytes: written at once, never half
        self.descriptor = descriptor

    @property
    def value(self) -> int:
        """Counted so far."""
        return self._value[0]

    def add(self) -> None:
        """One more."""
        self._value[0] += 1

    def close(self) -> None:
        """Let go of the memory."""
        self._value.release()
        self._memory.close()
        os.close(self.descriptor)


def new_tally() -> Tally:
    """At zero."""
    descriptor = os.memfd_create("tally")
    os.ftruncate(descriptor, _BYTES)
    return Tally(descriptor)
