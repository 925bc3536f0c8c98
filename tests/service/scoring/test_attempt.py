"""An arm's model that is slow is told from one that fails."""

import asyncio
from collections.abc import Callable

import numpy as np
import pytest
import uvloop

from service.scoring.attempt import within
from service.scoring.engine import Scores

Loop = Callable[[], asyncio.AbstractEventLoop]


async def _scores(seconds: float, error: Exception | None = None) -> Scores:
    await asyncio.sleep(seconds)
    if error is not None:
        raise error
    return {"ctr": np.zeros(1, np.float32)}


async def _outcome(seconds: float, scores: float, error: Exception | None = None) -> str:
    try:
        await within(seconds, _scores(scores, error))
    except TimeoutError as caught:
        return type(caught).__name__
    return "scores"


@pytest.mark.parametrize("loop", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_what_takes_too_long_is_slow_even_where_the_timer_is_early(loop: Loop) -> None:
    async def outcomes() -> set[str]:
        return set(await asyncio.gather(*[_outcome(0.005 + i * 1e-5, 1) for i in range(100)]))

    with asyncio.Runner(loop_factory=loop) as runner:
        assert runner.run(outcomes()) == {"TooSlow"}
        assert runner.run(_outcome(1, 0)) == "scores"


def test_a_timeout_of_the_engine_itself_is_no_slowness() -> None:
    assert asyncio.run(_outcome(1, 0, TimeoutError())) == "TimeoutError"
