"""Closed, open, half-open, by a clock that the test turns."""

from service.experiments.arms.breaker import (
    CONSECUTIVE,
    LONGEST_PAUSE,
    PAUSE_SECONDS,
    REFUSED,
    WINDOW,
    Breaker,
)


class Clock:
    """Stands still until it is turned."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def state(breaker: Breaker) -> str:
    return breaker.state


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(CONSECUTIVE):
        breaker.failed(breaker.allow())
    assert state(breaker) == "open"
    return breaker


def test_it_opens_after_failures_in_a_row_and_not_before() -> None:
    breaker = Breaker(Clock())
    for _ in range(3):
        for _ in range(CONSECUTIVE - 1):
            breaker.failed(breaker.allow())
        breaker.succeeded(breaker.allow())
    assert state(breaker) == "closed"
    for _ in range(CONSECUTIVE):
        assert state(breaker) == "closed"
        breaker.failed(breaker.allow())
    assert state(breaker) == "open"
    assert breaker.allow() == REFUSED


def test_it_opens_when_half_of_the_window_failed() -> None:
    breaker = Breaker(Clock())
    for i in range(WINDOW - 1):
        (breaker.succeeded if i % 2 else breaker.failed)(breaker.allow())
    assert state(breaker) == "closed"  # too few to tell
    breaker.failed(breaker.allow())
    assert state(breaker) == "open"
    seldom = Breaker(Clock())
    for i in range(10 * WINDOW):
        (seldom.succeeded if i % 3 else seldom.failed)(seldom.allow())
    assert state(seldom) == "closed"


def test_one_probe_closes_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE_SECONDS - 0.01
    assert breaker.allow() == REFUSED
    clock.now += 0.01
    assert state(breaker) == "half-open"
    probe = breaker.allow()
    assert probe != REFUSED
    assert [breaker.allow() for _ in range(3)] == [REFUSED] * 3
    breaker.succeeded(probe)
    assert state(breaker) == "closed"
    breaker.failed(breaker.allow())
    assert state(breaker) == "closed"  # what failed before is forgotten


def test_a_probe_that_fails_doubles_the_pause_up_to_a_limit() -> None:
    clock = Clock()
    breaker = opened(clock)
    pause = PAUSE_SECONDS
    for _ in range(8):
        clock.now += pause
        breaker.failed(breaker.allow())
        pause = min(2 * pause, LONGEST_PAUSE)
        clock.now += pause - 0.01
        assert state(breaker) == "open"
        clock.now += 0.01 - pause
    clock.now += pause
    breaker.succeeded(breaker.allow())
    for _ in range(CONSECUTIVE):
        breaker.failed(breaker.allow())
    clock.now += PAUSE_SECONDS
    assert state(breaker) == "half-open"  # the pause is short again


def test_a_probe_whose_caller_left_makes_room_for_the_next() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += PAUSE_SECONDS
    breaker.left(breaker.allow())
    assert state(breaker) == "half-open"
    breaker.succeeded(breaker.allow())
    assert state(breaker) == "closed"


def test_what_was_let_in_before_it_opened_says_nothing_about_the_probe() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    late = [breaker.allow() for _ in range(3)]
    for _ in range(CONSECUTIVE):
        breaker.failed(breaker.allow())
    clock.now += PAUSE_SECONDS
    breaker.allow()
    breaker.succeeded(late[0])
    breaker.failed(late[1])
    breaker.left(late[2])
    assert state(breaker) == "half-open"
    assert breaker.allow() == REFUSED
