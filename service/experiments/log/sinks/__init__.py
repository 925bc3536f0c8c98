"""Where the log goes: TWINSCORE_LOG is file:FOLDER, redis, redis://…, kafka://host:port/topic, or off."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Line(NamedTuple):
    """One record, serialised."""

    user: str  # "" where it is of none
    text: bytes  # JSON, without an end of line


class SinkDown(Exception):
    """The sink did not take a batch, or did not say that it did; all of it may be sent again."""


class Sink(Protocol):
    """Takes batches, one at a time."""

    name: str

    async def write(self, batch: Sequence[Line]) -> None:
        """Return when the sink has all of it; SinkDown in a few seconds where it has not."""

    async def close(self) -> None:
        """Let go of files and connections."""
