"""Where records come from: the sink of TWINSCORE_LOG, read in order from a position."""

from typing import Protocol

from service.experiments.outcomes.entry import Entry, Position


class LogSource(Protocol):
    """Reads on from where it stands."""

    name: str  # its positions are kept under it

    def seek(self, position: Position) -> None:
        """Go on from here; an empty position is the beginning."""

    def read(self, most: int) -> list[Entry]:
        """The next records, at most so many; none where there are none now."""

    def lag(self) -> str:
        """How much is not read yet."""

    def trim(self, position: Position) -> None:
        """What lies before is counted and archived, and need not be kept."""

    def close(self) -> None:
        """Let go of files and connections."""
