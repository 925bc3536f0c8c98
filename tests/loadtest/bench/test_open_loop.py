"""The open loop keeps to its times, whatever the server does."""

import socket
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ConfigError
from loadtest.bench import open_loop
from loadtest.bench.open_loop import Sender, arrivals, drive
from tests.loadtest.bench.conftest import Tiny


def test_constant_arrivals_keep_one_distance() -> None:
    times = arrivals(50, 2, poisson=False, seed=1)
    assert len(times) == 100
    assert np.diff(times) == pytest.approx(0.02)


def test_poisson_arrivals_come_independently_at_the_rate() -> None:
    times = arrivals(500, 20, poisson=True, seed=1)
    gaps = np.diff(times)
    assert times[-1] < 20
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # of an exponential distribution, the two are the same
    assert (arrivals(500, 20, poisson=True, seed=2)[:9] != times[:9]).all()


@pytest.mark.parametrize("chunked", [False, True])
def test_every_body_is_sent_in_turn_and_on_time(tiny: Tiny, lines: Path, chunked: bool) -> None:
    tiny.chunked = chunked
    times = arrivals(100, 0.9, poisson=False, seed=1)
    outcome = drive([f"{tiny.url}/score"], lines, times)
    assert Counter(tiny.asked) == dict.fromkeys(lines.read_text().splitlines(), 30)
    assert outcome.failures == 0
    assert np.median(outcome.latency) < 0.05
    assert np.median(outcome.late) < 0.01


def test_latency_counts_from_the_time_at_which_a_request_was_meant_to_leave(
    tiny: Tiny, lines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_loop, "_MOST", 32)  # so that requests must wait for a connection
    tiny.seconds = 0.02  # 50 a second at most, and twice as many are offered
    times = arrivals(100, 1, poisson=False, seed=1).tolist()
    sender = Sender([f"{tiny.url}/score"], lines.read_text().splitlines(), times)
    sender.run()
    assert len(tiny.asked) == 100
    assert sender.latency[-1] > 0.9  # counted from when it left: two thirds of that
    assert not sender.failed


def test_what_is_never_answered_counts_until_the_end(tiny: Tiny, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "_DRAIN_SECONDS", 0.3)
    tiny.seconds = 0.5
    sender = Sender([f"{tiny.url}/score"], lines.read_text().splitlines(), [0.0, 0.05, 0.1])
    sender.run()
    assert sender.failed == {"unanswered": 3}
    assert sender.latency == pytest.approx([0.4, 0.35, 0.3], abs=0.05)


@pytest.mark.parametrize(("closes", "drops"), [(True, 0), (False, 5)])
def test_connections_that_the_server_closed_are_replaced(tiny: Tiny, lines: Path, closes: bool, drops: int) -> None:
    tiny.closes, tiny.drops = closes, drops
    outcome = drive([f"{tiny.url}/score"], lines, arrivals(100, 0.9, poisson=False, seed=1))
    assert (len(tiny.asked), outcome.failures) == (90, 0)


def test_refusals_are_counted_by_status(tiny: Tiny, lines: Path) -> None:
    tiny.status = 503
    outcome = drive([f"{tiny.url}/score"], lines, arrivals(50, 0.4, poisson=False, seed=1))
    assert outcome.failed == {"503": 20}
    assert outcome.failures == 1


def test_nobody_there_is_one_line(lines: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ConfigError, match=f"{port}.*: Connection refused"):
        drive([f"http://127.0.0.1:{port}/score"], lines, arrivals(50, 0.4, poisson=False, seed=1))
