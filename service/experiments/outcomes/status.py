"""`python -m service outcomes status`: how far counting is, and what it counted."""

from datetime import UTC, datetime
from typing import cast

from redis import Redis

from service.experiments import keys
from service.experiments.outcomes.archive import Archive
from service.experiments.outcomes.sources.choice import source_of
from service.experiments.outcomes.store import Counted, Store
from service.experiments.outcomes.sums import ExperimentSums
from service.settings import Settings


def show(redis: Redis, settings: Settings) -> int:
    """Print it."""
    counted = Store(redis, settings.redis_prefix).load()
    print("\n".join(_lines(redis, settings, counted)))
    return 0


def _lines(redis: Redis, settings: Settings, counted: Counted) -> list[str]:
    source = source_of(settings, redis)
    holder = cast(bytes | None, redis.get(keys.lease(settings.redis_prefix)))
    cursor = counted.cursor
    try:
        source.seek(cursor.positions.get(source.name, {}) if cursor else {})
        lines = [
            f"consumer   {holder.decode().rpartition(':')[0] if holder else 'none is running'}",
            f"log        {source.name}, {source.lag()} behind",
        ]
    finally:
        source.close()
    if cursor is None:
        return [*lines, "counted    nothing yet; run `python -m service outcomes`"]
    clock = cursor.clock
    files = Archive(settings.archive).files()
    return [
        *lines,
        f"counted    {clock.records:,} records in {cursor.sequence:,} batches, up to {_time(clock.now)}",
        f"set aside  {clock.repeated:,} read twice, {clock.late:,} too late, {clock.malformed:,} malformed, "
        f"{clock.missing:,} missing",
        f"archive    {settings.archive}: {len(files):,} files, the last {files[-1].name if files else '-'}; "
        f"{len(counted.staged):,} batches wait",
        *(_experiment(each) for each in counted.sums.values()),
    ]


def _experiment(sums: ExperimentSums) -> str:
    arms = ", ".join(f"{name} {arm.moments.total('users'):,} users" for name, arm in sums.arms.items())
    return f"{sums.key}, phase {sums.phase}: {arms or 'no users'}; up to {_time(sums.last)}"


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds") if milliseconds else "-"
