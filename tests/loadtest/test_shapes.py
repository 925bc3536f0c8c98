"""How many users there are when, and where steps find saturation."""

import argparse
from collections.abc import Callable

import pytest

from contract.errors import ConfigError
from loadtest.shapes import Plan, Step, add_arguments, draining, next_level, offered, plan, saturation
from loadtest.thresholds import Summary


def _plan(*arguments: str, users: int = 4, seconds: float = 21.0) -> Plan:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return plan(parser.parse_args(arguments), users, seconds)


def test_closed_and_open_are_constant_to_their_end() -> None:
    for made in (_plan(), _plan("--shape", "open", "--rate", "100")):
        assert [made.level(t) for t in (0, 20.9, 21)] == [4, 4, None]
    assert _plan(seconds=0).level(1e6) == 4


def test_sources_share_the_rate() -> None:
    assert _plan("--shape=open", "--rate=100").source_rate == 25
    assert _plan().source_rate == 0


def test_spike_bursts_and_comes_back() -> None:
    made = _plan("--shape", "spike", "--burst", "2.5", "--burst-time", "5s")
    assert [made.level(t) for t in (0, 3.9, 4, 8.9, 9, 20.9, 21)] == [4, 4, 10, 10, 4, 4, None]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--shape=open"], "--rate 0"),
        (["--shape=open", "--rate=-1"], "--rate -1"),
        (["--shape=open", "--rate=nan"], "--rate nan"),
        (["--rate=5"], "a closed load has none"),
        (["--shape=spike", "--burst=1"], "--burst 1"),
        (["--shape=spike", "--burst-time=8s"], "3 times --burst-time"),
        (["--shape=steps", "--step-time=1s"], "--step-time 1s"),
        (["--step-time=never"], "--step-time never"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        _plan(*arguments)


def test_no_users_are_refused() -> None:
    with pytest.raises(ConfigError, match="--users 0"):
        _plan(users=0)


def _climb(start: int, rate: float, answer: Callable[[int], tuple[float, float]], limit: float = 1e9) -> list[Step]:
    """Steps over a made-up service: users → requests/s, p99."""
    done: list[Step] = []
    users: int | None = start
    while users is not None:
        throughput, p99 = answer(users)
        figures = Summary(10, round(10 * throughput), 0, round(10 * throughput), 1, 1, p99, p99)
        done.append(Step(users, users * rate, users * rate, figures, ["p99"] if p99 > limit else []))
        users = next_level(done)
    return done


def test_closed_steps_end_where_throughput_stops_to_grow() -> None:
    done = _climb(1, 0, lambda users: (min(100.0 * users, 450.0), 10.0))
    assert [step.users for step in done] == [1, 2, 4, 8, 16]
    point = saturation(done)
    assert point is not None
    assert (point.users, point.figures.requests_per_second) == (8, 450)


def test_closed_steps_end_at_a_threshold() -> None:
    done = _climb(1, 0, lambda users: (100.0 * users, 5.0 * users), limit=12)
    assert [step.users for step in done] == [1, 2, 4]
    point = saturation(done)
    assert point is not None
    assert point.users == 2


def test_open_steps_close_in_on_the_rate_that_is_kept_up_with() -> None:
    done = _climb(8, 10.0, lambda users: (min(10.0 * users, 500.0), 10.0))
    point = saturation(done)
    assert point is not None
    assert 0.9 * 500 <= point.planned <= 500 / 0.95
    assert max(step.users for step in done) == 64


def test_service_that_never_gives_way_ends_the_climb() -> None:
    assert _climb(8, 10.0, lambda users: (10.0 * users, 1.0))[-1].users == 4096


def test_first_step_too_high_is_no_saturation() -> None:
    done = _climb(8, 10.0, lambda _: (5.0, 10.0))
    assert len(done) == 1
    assert saturation(done) is None


def test_chance_is_no_lag_of_the_generator() -> None:
    assert offered(100, 90, seconds=10) == 90
    assert offered(100, 40, seconds=10) == 100


def test_draining_holds_no_users_before_the_end() -> None:
    course = draining(_plan(seconds=5).level, lag=3)
    assert [course(t) for t in (0, 4, 5, 7.9, 8)] == [4, 4, 0, 0, None]
    assert draining(_plan(seconds=5).level, lag=0)(5) is None
