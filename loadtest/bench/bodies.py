"""Files of requests, one body a line, drawn once and written in the shape that each server takes."""

from pathlib import Path

import numpy as np

from loadtest.bench.servers import Body, Contestant
from loadtest.catalogue import Catalogue
from loadtest.payloads import Payloads, Request
from loadtest.workload import Candidates, Workload

EXPONENT = 1.05  # of the popularity of users and items
_BODIES = 1_000  # enough that a cache cannot live on their repetition


class Bodies:
    """The same requests for everybody."""

    def __init__(self, catalogue: Catalogue, folder: Path) -> None:
        self._catalogue, self._folder = catalogue, folder
        self._drawn: dict[int, list[Request]] = {}
        self._files: dict[tuple[str, int], Path] = {}

    def of(self, contestant: Contestant, size: int) -> Path:
        """The file of requests of `size` candidates for this server."""
        return self._file("" if contestant.ours else contestant.name, contestant.body, size)

    def plain(self, size: int) -> Path:
        """The same, as our own service takes it."""
        return self._file("", lambda asked: asked.body, size)

    def _file(self, whose: str, body: Body, size: int) -> Path:
        if (whose, size) not in self._files:
            file = self._folder / f"bodies-{len(self._files)}.jsonl"
            file.write_text("".join(f"{body(asked)}\n" for asked in self._requests(size)))
            self._files[whose, size] = file
        return self._files[whose, size]

    def _requests(self, size: int) -> list[Request]:
        if size not in self._drawn:
            payloads = Payloads(self._catalogue, Workload(Candidates((float(size),)), 0.0, 0.0, EXPONENT, 1))
            rng = np.random.default_rng(size)
            self._drawn[size] = [payloads.draw(rng) for _ in range(_BODIES)]
        return self._drawn[size]
