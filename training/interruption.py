"""Ctrl-C and SIGTERM wait while weights are being updated: half a step could not be resumed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType

import torch
from torch import distributed

from training.distributed import place

SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGREED = 16  # steps between two questions to the other processes


class Interruption:
    """While entered, either signal raises KeyboardInterrupt: at once, or where a `held` block ends.

    Under torchrun all processes must stop at the same step, so there it waits until `agree` has asked them all.
    """

    def __init__(self) -> None:
        self.asked = self.holding = False

    def __enter__(self) -> "Interruption":
        if threading.current_thread() is threading.main_thread():  # the others get no signals
            self.former = {number: signal.signal(number, self._handle) for number in SIGNALS}
        else:
            self.former = {}
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for number, handler in self.former.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Run the block to its end."""
        self.holding = True
        yield
        self.holding = False
        if self.asked and place().world == 1:
            raise KeyboardInterrupt

    def agree(self, steps: int) -> None:
        """KeyboardInterrupt in all processes if one was asked."""
        if place().world == 1 or steps % AGREED:
            return
        asked = torch.tensor(int(self.asked))
        distributed.all_reduce(asked)
        if asked:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.asked = True
        if not self.holding and place().world == 1:
            raise KeyboardInterrupt
