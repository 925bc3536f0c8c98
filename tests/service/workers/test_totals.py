"""The page of metrics of several workers."""

from functools import partial

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from service.metrics import Metrics
from service.workers.totals import Totals, samples


def told(*, requests: float = 0, waiting: float = 0, seconds: tuple[float, ...] = (), longest: float = 0) -> bytes:
    """What a worker with these metrics tells."""
    registry = CollectorRegistry()
    Counter("requests", "r", ["status"], registry=registry).labels("200").inc(requests)
    Gauge("waiting", "w", registry=registry).set(waiting)
    histogram = Histogram("seconds", "s", buckets=(1, 2), registry=registry)
    for value in seconds:
        histogram.observe(value)
    Gauge("twinscore_gc_longest_seconds", "l", registry=registry).set(longest)
    return samples(registry)


def page(totals: Totals) -> list[str]:
    """Its lines, without comments."""
    return [line for line in totals.page(CollectorRegistry()).decode().splitlines() if not line.startswith("#")]


def test_counters_and_histograms_are_summed_and_gauges_as_they_mean() -> None:
    totals = Totals()
    totals.note(0, told(requests=3, waiting=10, seconds=(0.5, 1.5), longest=0.2))
    totals.note(1, told(requests=4, waiting=1, seconds=(9,), longest=0.1))
    assert page(totals) == [
        'requests_total{status="200"} 7.0',
        "waiting 11.0",
        'seconds_bucket{le="1.0"} 1.0',
        'seconds_bucket{le="2.0"} 2.0',
        'seconds_bucket{le="+Inf"} 3.0',
        "seconds_count 3.0",
        "seconds_sum 11.0",
        "twinscore_gc_longest_seconds 0.2",
    ]
    assert "# TYPE requests_total counter" in totals.page(CollectorRegistry()).decode()


def test_what_a_worker_counted_outlives_it_and_its_gauges_do_not() -> None:
    totals = Totals()
    totals.note(0, told(requests=3, waiting=10, seconds=(0.5,)))
    totals.note(1, told(requests=4, waiting=1))
    totals.retire(0)
    assert {'requests_total{status="200"} 7.0', "waiting 1.0", "seconds_count 1.0"} <= set(page(totals))
    totals.note(0, told(requests=1, waiting=5))
    totals.note(0, told(requests=2, waiting=6))
    totals.retire(0)
    totals.retire(0)  # one that ended before it told anything
    assert {'requests_total{status="200"} 9.0', "waiting 1.0", "seconds_count 1.0"} <= set(page(totals))


@pytest.mark.parametrize(("values", "shown"), [((1, 1), 1), ((0, 1), 0)], ids=["all hear of changes", "one does not"])
def test_item_rows_are_followed_where_every_worker_does(values: tuple[int, int], shown: float) -> None:
    totals = Totals()
    for worker, value in enumerate(values):
        metrics = Metrics()
        metrics.watch_items("s", lambda: 7, partial(bool, value))
        metrics.loaded("ple", "v1", "f", "d")
        totals.note(worker, samples(metrics.registry))
    lines = page(totals)
    assert f'twinscore_item_cache_followed{{schema="s"}} {shown:.1f}' in lines
    assert 'twinscore_item_cache_rows{schema="s"} 14.0' in lines
    assert 'twinscore_model_info{dataset="d",fingerprint="f",model="ple",version="v1"} 1.0' in lines


def test_values_that_json_has_no_word_for_arrive() -> None:
    totals = Totals()
    totals.note(0, told(waiting=float("inf")))
    assert "waiting +Inf" in page(totals)
