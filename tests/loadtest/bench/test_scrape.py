"""What is read from a page of metrics."""

import pytest

from contract.errors import ConfigError
from loadtest.bench.scrape import Counts, scrape
from tests.loadtest.bench.conftest import Tiny


def test_difference_of_two_pages_is_what_happened_between(tiny: Tiny) -> None:
    tiny.stage.labels("parse").observe(100.0)
    tiny.stage.labels("route")
    before = scrape(f"{tiny.url}/metrics")
    tiny.answer("")
    tiny.answer("")
    between = scrape(f"{tiny.url}/metrics") - before
    assert between.stages() == pytest.approx({"parse": 0.001, "run": 0.002, "total": 0.004})
    assert between.hits() == 0.75


def test_cache_events_may_stand_in_the_name_of_the_counter() -> None:
    counts = {("twinscore_item_cache_hits_total", ""): 9.0, ("twinscore_item_cache_misses_total", ""): 1.0}
    others = {("twinscore_item_cache_evictions_total", ""): 5.0, ("twinscore_candidates_total", ""): 7.0}
    assert Counts(counts | others).hits() == 0.9
    assert Counts(others).hits() is None


def test_nobody_there_is_one_line() -> None:
    with pytest.raises(ConfigError, match=r"127\.0\.0\.1:1/metrics: "):
        scrape("http://127.0.0.1:1/metrics")
