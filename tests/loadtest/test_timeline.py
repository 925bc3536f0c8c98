"""Windows over what happened when."""

import json

import pytest

from loadtest.timeline import Timeline, three_digits


def test_window_holds_what_ended_in_it() -> None:
    timeline = Timeline()
    for at, milliseconds in ((0.1, 5.0), (0.6, 10.0), (0.9, 20.0), (1.0, 40.0)):
        timeline.record(milliseconds, failed=milliseconds == 20, candidates=int(milliseconds), at=at)
    window = timeline.window(0.5, 1.0)
    assert (window.requests, window.failures, window.candidates) == (2, 1, 30)
    assert (window.requests_per_second, window.slowest) == (4.0, 20.0)
    assert timeline.window(7, 8).requests == timeline.window(7, 8).p99 == 0


def test_percentiles_are_those_of_the_sorted_latencies() -> None:
    timeline = Timeline()
    for milliseconds in range(1, 101):
        timeline.record(milliseconds, failed=False, candidates=1, at=0.2)
    window = timeline.window(0, 0.5)
    assert (window.p50, window.p95, window.p99, window.slowest) == (50, 95, 99, 100)


def test_latencies_keep_three_digits() -> None:
    assert [three_digits(x) for x in (0.12345, 5.678, 1234.0)] == [0.123, 5.68, 1230.0]


def test_workers_add_up_on_the_master() -> None:
    master, workers = Timeline(), (Timeline(), Timeline())
    for worker in workers:
        for turn in range(2):
            worker.arrival(at=0.7)
            worker.record(3.0 + turn, failed=bool(turn), candidates=10, at=0.7)
            master.merge(worker.take())
        assert worker.take() == {}
    window = master.window(0.5, 1.0)
    assert (window.requests, window.failures, window.candidates, window.p99) == (4, 2, 40, 4.0)
    assert master.offered(0.5, 1.0) == pytest.approx(8.0)


def test_what_is_taken_fits_into_a_message() -> None:
    timeline = Timeline()
    timeline.record(3.0, failed=False, candidates=10, at=0.0)
    assert json.loads(json.dumps(timeline.take())) == {"0": [0, 0, 10, {"3.0": 1}]}
