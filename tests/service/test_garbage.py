"""Python's collector: counted while serving, and as before when the service has ended."""

import gc

from service.settings import Settings
from tests.service.conftest import running


def test_collections_are_counted_until_the_service_ends(settings: Settings) -> None:
    callbacks, frozen = len(gc.callbacks), gc.get_freeze_count()
    with running(settings) as client:
        assert gc.get_freeze_count() > frozen
        before = client.metric('twinscore_gc_seconds_count{generation="2"}')
        gc.collect()
        assert client.metric('twinscore_gc_seconds_count{generation="2"}') == before + 1
        assert client.metric('twinscore_gc_seconds_sum{generation="2"}') > 0
        assert client.metric("twinscore_gc_longest_seconds") > 0
    assert len(gc.callbacks) == callbacks
    assert gc.get_freeze_count() == 0
