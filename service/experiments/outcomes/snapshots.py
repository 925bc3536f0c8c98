"""Moments as they were over time, by the log's clock, so that a replay takes the same ones."""

from service.experiments.outcomes.sums import ExperimentSums, Snapshot

MOST = 500
_MINUTE = 60_000  # milliseconds


def next_due(sums: ExperimentSums, now: int) -> int:
    """When the log's clock passes this time, the next one is taken."""
    interval = sums.snapshot_minutes * _MINUTE
    return (now // interval + 1) * interval


def take(sums: ExperimentSums, now: int) -> bool:
    """Keep the moments of now where they changed; of too many every other older one goes."""
    arms = {name: arm.moments.model_copy(deep=True) for name, arm in sums.arms.items()}
    if not sums.first or (sums.snapshots and sums.snapshots[-1].arms == arms):
        return False
    if len(sums.snapshots) >= MOST:
        sums.snapshots = sums.snapshots[::2]
    sums.snapshots.append(Snapshot(time=now, arms=arms))
    return True
