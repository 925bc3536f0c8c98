"""Numbers of rows that a device is given: a captured graph replays one shape, so every other number is padded."""

from bisect import bisect_left

SMALLEST = 64  # candidates; below, a run is launches and copies, whatever its rows
# A request's half costs about what a candidate costs, so padding it to the candidates' number would double a run of a
# few requests. 1,000 candidates are mostly of few requests: 16 and 128 fit nearly all, the full number the rest.
REQUESTS = (16, 128)


def candidate_buckets(largest: int) -> list[int]:
    """Ascending numbers of candidates, doubling up to `largest`: of a run above SMALLEST, less than half is padding."""
    sizes = []
    size = SMALLEST
    while size < largest:
        sizes.append(size)
        size *= 2
    return [*sizes, largest]


def request_buckets(candidates: int) -> list[int]:
    """Ascending numbers of requests that these candidates may belong to; more than candidates there never are."""
    return [*(size for size in REQUESTS if size < candidates), candidates]


def fitting(buckets: list[int], rows: int) -> int:
    """The smallest bucket that holds so many rows, which is no more than the largest."""
    return buckets[bisect_left(buckets, rows)]
