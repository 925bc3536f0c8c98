"""Every number of rows has its bucket, and none is much larger than it must be."""

import pytest

from service.scoring.buckets import SMALLEST, candidate_buckets, fitting, request_buckets


@pytest.mark.parametrize("largest", [1, 63, 64, 65, 1000, 4096])
def test_buckets_double_up_to_the_largest(largest: int) -> None:
    buckets = candidate_buckets(largest)
    assert buckets == sorted(set(buckets))
    assert buckets[-1] == largest
    for rows in range(1, largest + 1):
        bucket = fitting(buckets, rows)
        assert rows <= bucket < max(2 * rows, SMALLEST + 1)


def test_requests_are_never_more_than_candidates() -> None:
    assert request_buckets(64) == [16, 64]
    assert request_buckets(16) == [16]
    assert request_buckets(1) == [1]
    assert request_buckets(4096) == [16, 128, 4096]
    assert fitting(request_buckets(4096), 129) == 4096
