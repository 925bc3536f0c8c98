"""The Open Bandit log as rounds: who asked, what could have been shown, what was, and with which probability."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.datasets.open_bandit import AFFINITY, CAMPAIGNS, POLICIES, USER, impressions_log, open_bandit_schema
from training.datasets.ranks import Run
from training.datasets.splits import Rows, bounds
from training.replay.estimators import Rounds


@dataclass(frozen=True)
class Log:
    """Rounds of one policy and campaign; n rounds, K items that could have been shown."""

    policy: str
    campaign: str
    rows: pl.DataFrame  # [n] user_id, the user's features, campaign, hour, position
    items: list[str]  # [K]
    affinity: NDArray[np.float64]  # [n, K]
    shown: NDArray[np.int64]  # [n], of the items
    rounds: Rounds

    def at(self, chosen: NDArray[np.bool_]) -> "Log":
        """The chosen rounds."""
        _, cluster = np.unique(self.rounds.cluster[chosen], return_inverse=True)
        kept = Rounds(self.rounds.reward[chosen], self.rounds.propensity[chosen], cluster)
        rows = self.rows.filter(pl.Series(chosen))
        return Log(self.policy, self.campaign, rows, self.items, self.affinity[chosen], self.shown[chosen], kept)


def read_logs(raw: Path) -> list[tuple[Log, NDArray[np.bool_]]]:
    """Every log, and which of its rounds are later than all that a model was trained on."""
    frames = {
        (policy, campaign): impressions_log(raw, policy, campaign) for policy in POLICIES for campaign in CAMPAIGNS
    }
    times = pl.concat([frame["timestamp"] for frame in frames.values()]).str.to_datetime(time_zone="UTC")
    moments = times.to_physical().to_numpy()
    limits = bounds(open_bandit_schema().split, len(moments), None, [Run.of(moments)])
    parts = limits.parts(Rows(0, len(moments), times=moments))
    ends = np.cumsum([len(frame) for frame in frames.values()])
    later = np.split(parts > 0, ends[:-1])
    return [(_log(*names, frame), kept) for (names, frame), kept in zip(frames.items(), later, strict=True)]


def _log(policy: str, campaign: str, frame: pl.DataFrame) -> Log:
    affinities = [name for name in frame.columns if name.startswith(AFFINITY)]
    numbers = [name.removeprefix(AFFINITY) for name in affinities]
    place = {number: i for i, number in enumerate(numbers)}
    slates = frame.select(pl.struct("timestamp", "user_id").rank("dense") - 1).to_series()
    return Log(
        policy,
        campaign,
        frame.select("user_id", *USER, "campaign", "hour", "position"),
        [f"{campaign}:{number}" for number in numbers],
        frame.select(pl.col(affinities).cast(pl.Float64)).to_numpy(),
        np.array([place[number] for number in frame["item"]]),
        Rounds(
            frame["click"].cast(pl.Float64).to_numpy(),
            frame["propensity_score"].cast(pl.Float64).to_numpy(),
            slates.to_numpy().astype(np.int64),
        ),
    )
