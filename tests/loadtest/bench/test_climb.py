"""Steps of offered load, and what they say."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ConfigError
from loadtest.bench.climb import Climbs, Pace, Step, climb, climb_in_turn, saturation, table, typical, verdict
from loadtest.bench.plot import draw, save
from loadtest.bench.servers import Contestant, Server
from tests.loadtest.bench.conftest import Tiny

STEP = Step(0.3, 30.0, 100, p50=1.0, p99=2.0, p999=3.0, failures=0.0, late=0.1)


def test_latency_rises_where_more_is_offered_than_the_server_can_do(tiny: Tiny, lines: Path) -> None:
    tiny.seconds = 0.01
    server = Server((f"{tiny.url}/score",), ())
    most = saturation(server, lines, 1.0)
    assert 20 < most <= 100
    low, high = climb(server, lines, most, Pace(0.4, poisson=False, shares=(0.2, 2.0)), seed=1)
    assert [low.share, high.share] == [0.2, 2.0]
    assert [low.offered, high.offered] == pytest.approx([0.2 * most, 2 * most])
    assert low.requests == pytest.approx(1.2 * low.offered, abs=1)  # too few a second: three times as long
    assert 10 <= low.p50 < 200
    assert high.p99 > 300
    assert high.failures == 0


def test_rounds_come_to_medians() -> None:
    rounds = [[replace(STEP, p99=p99), replace(STEP, share=0.8, p99=2 * p99)] for p99 in (9.0, 2.0, 4.0)]
    assert [(step.share, step.p99) for step in typical(rounds)] == [(0.3, 4.0), (0.8, 8.0)]


def test_who_cannot_start_is_left_out_and_the_others_climb(tiny: Tiny, lines: Path) -> None:
    @contextmanager
    def start(name: str) -> Iterator[Server]:
        if name == "bad":
            raise ConfigError("no such program")
        yield Server((f"{tiny.url}/score",), ())

    everybody = [Contestant(name, partial(start, name), lambda asked: asked.body) for name in ("bad", "good")]
    pace = Pace(0.2, poisson=True, shares=(0.1,))
    found = climb_in_turn(everybody, lambda contestant: lines, pace, rounds=2)
    assert found.failed == {"bad": "no such program"}
    assert [len(steps) for steps in found.rounds["good"]] == [1, 1]
    assert list(found.typical()) == ["good"]
    with pytest.raises(ConfigError, match="bad: no such program"):
        Climbs(failed=found.failed).typical()


@pytest.mark.parametrize(
    ("high", "told"),
    [
        (replace(STEP, share=0.8, p99=3.0), "1.50 times its 2.00 ms at 30%: flat"),
        (replace(STEP, share=0.8, p99=3.1), "1.55 times its 2.00 ms at 30%: not flat"),
        (replace(STEP, share=0.8, failures=0.1), "not flat"),
    ],
)
def test_verdict_compares_two_loads(high: Step, told: str) -> None:
    steps = [replace(STEP, share=0.1, p99=99.0), STEP, high, replace(STEP, share=1.1, p99=99.0)]
    assert told in verdict("service", steps)


def test_table_and_plot_show_every_server(tmp_path: Path) -> None:
    steps = [STEP, replace(STEP, share=0.8, offered=80.0, failures=0.25)]
    climbs = {"service": steps, "peer": steps}
    assert "| peer | 80% | 80.0 | 100 | 1.00 | 2.00 | 3.00 | 25.0% | 0.10 |" in table(climbs).splitlines()
    figure = draw(climbs, 200, "title")
    svg, png = save(figure, tmp_path / "out.md")
    assert b"<svg" in svg.read_bytes()
    assert png.read_bytes().startswith(b"\x89PNG")
    (axes,) = figure.axes
    shown = {str(line.get_label()): line for line in axes.lines}
    assert {"service", "peer"} <= set(shown)
    assert np.asarray(shown["peer"].get_xdata()).tolist() == [6_000, 16_000]  # items a second
