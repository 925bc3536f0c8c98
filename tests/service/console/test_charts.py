"""service/console/charts.py."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from service.console.charts import HEIGHT, MOST_POINTS, WIDTH, forest, nice_limit, slot_parts, tracks
from service.experiments.config import Arm, Experiment, Layer
from service.experiments.readout.report import Interval, Point
from tests.service.console.sample import LOOKS, readout

START = datetime(2026, 11, 1, tzinfo=UTC)


def layer(**slots: list[tuple[int, int]]) -> Layer:
    arms = (Arm(name="a", weight=10_000),)
    experiments = tuple(Experiment(key=key, slots=tuple(ranges), arms=arms) for key, ranges in slots.items())
    return Layer(name="l", salt="l", experiments=experiments)


def test_slots_of_a_layer_are_all_there_in_order_and_free_ones_are_named_free() -> None:
    parts = slot_parts(layer(b=[(6000, 7000), (0, 100)], a=[(100, 6000)]))
    assert [(part.key, part.start, part.stop, part.tone) for part in parts] == [
        ("b", 0, 100, 0), ("a", 100, 6000, 1), ("b", 6000, 7000, 0), (None, 7000, 10_000, None),
    ]  # fmt: skip
    assert sum(part.size for part in parts) == 10_000
    assert [(part.key, part.size) for part in slot_parts(layer())] == [(None, 10_000)]


@pytest.mark.parametrize(
    ("values", "limit"), [([0.128, -0.03], 0.15), ([0.1], 0.1), ([None], 0.01), ([], 0.01), ([float("inf")], 0.01)]
)
def test_a_scale_ends_at_a_round_number_that_no_value_exceeds(values: list[float | None], limit: float) -> None:
    assert nice_limit(values) == pytest.approx(limit)


def test_a_forest_has_zero_in_the_middle_and_cuts_what_is_far_wider_than_the_rest() -> None:
    comparisons = readout().comparisons
    scale = forest(comparisons)
    assert scale.limit == pytest.approx(0.15)
    assert (scale.place(0.0), scale.place(0.075), scale.place(-9.0), scale.place(None)) == (50, 75, 0, 50)
    wide = comparisons[-1].model_copy(update={"always": Interval(low=-40.0, high=55.0)})
    assert forest([*comparisons[:-1], wide]).limit < 1
    unbounded = Interval(low=None, high=0.015)
    assert (scale.left(unbounded), scale.right(unbounded)) == (0, 55)


def places(line: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in (pair.split(",") for pair in line.split())]


def test_the_lift_crosses_the_boundary_exactly_where_its_peek_safe_interval_leaves_zero() -> None:
    history = readout().history
    (track,) = tracks(history)
    estimate, upper = places(track.estimate), places(track.boundary[0])
    outside = [y < bound for (_, y), (_, bound) in zip(estimate, upper, strict=True)]  # down is more
    assert outside == [(point.always.low or 0) > 0 for point in history]
    assert track.crossed is not None
    assert track.crossed == history[outside.index(True)]
    assert len(places(track.always)) == 2 * LOOKS


def test_time_runs_from_the_left_edge_to_the_right_by_the_clock_and_zero_is_in_the_middle() -> None:
    def point(hours: float, lift: float) -> Point:
        interval = Interval(low=lift - 0.1, high=lift + 0.1)
        time = (START + timedelta(hours=hours)).isoformat()
        return Point(time=time, arm="a", users=1, lift=lift, always=interval, fixed=interval)

    (track,) = tracks([point(0, 0.0), point(1, 0.0), point(4, 0.0)])
    assert places(track.estimate) == [(0, HEIGHT / 2), (WIDTH / 4, HEIGHT / 2), (WIDTH, HEIGHT / 2)]
    assert track.ticks[2] == 0
    many = tracks([point(hour, 0.01) for hour in range(5 * MOST_POINTS)])[0].points
    assert len(many) <= MOST_POINTS + 1
    assert many[-1].time == point(5 * MOST_POINTS - 1, 0.0).time
    assert all(before.time < after.time for before, after in pairwise(many))


def test_points_without_a_lift_or_a_bound_are_not_drawn_and_one_point_is_no_chart() -> None:
    history = readout().history[:2]
    assert tracks(history[:1]) == []
    assert tracks([history[0], history[1].model_copy(update={"lift": None})]) == []
    assert tracks([]) == []
