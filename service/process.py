"""What every process of the service does alike: its event loop, its signals, and the lines that say it is ready."""

import asyncio
import signal
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from types import FrameType
from typing import Any

import uvloop

DRAIN_SECONDS = 5


@dataclass(frozen=True)
class Greeting:
    """What there is to say when the models are ready."""

    seconds: float
    warning: str | None
    example: str

    def show(self, address: str) -> None:
        """Print it."""
        if self.warning is not None:
            print(f"warning: {self.warning}", file=sys.stderr)
        print(f"serving on {address} (models ready in {self.seconds:.1f} s); try:", flush=True)
        print(self.example, flush=True)


def run_loop(job: Coroutine[Any, Any, None]) -> None:
    """Run in the event loop that serving is fastest on."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(job)


def leave_on_signals() -> None:
    """Unwind, so that what was started is stopped; uvicorn raises the signal again once it has drained."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)
