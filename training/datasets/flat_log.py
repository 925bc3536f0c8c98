"""A plain log for studying interactions of ids: twelve categorical fields, and nothing else.

User and item are drawn by Zipf's law; four profile fields are functions of the user, four catalogue fields of the item;
position and hour are uniform. Half of the profile and of the catalogue fields have more ids, half have fewer. Tables
over pairs of fields are between a profile and a catalogue field of one half; each pair has a table that both tasks
share and one of each task alone, so that what the tasks share can change while the sizes of the tables stay.
"""

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np

from training.datasets.click_log import DAYS, SLATE, START, Ints, Size, draw_slates, zipf
from training.datasets.truth import Effects, Impressions, PairTables

Half = Literal["large", "small"]
HALVES: dict[Half, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "large": (("segment", "occupation"), ("category", "brand")),
    "small": (("city", "age"), ("shop", "style")),
}
IDS = {"large": 40, "small": 30}
PROFILE = {name: IDS[half] for half, (names, _) in HALVES.items() for name in names}
CATALOGUE = {name: IDS[half] for half, (_, names) in HALVES.items() for name in names}
EFFECTS = Effects(factors=0.2)
CLICK_RATE, CONVERSION_RATE = 0.1, 0.2


@dataclass(frozen=True)
class FlatLog:
    """Profiles of users, catalogue of items, and impressions with their codes of the moment."""

    profile: dict[str, Ints]
    catalogue: dict[str, Ints]
    user: Ints
    item: Ints
    time: Ints
    codes: dict[str, Ints]

    @property
    def impressions(self) -> Impressions:
        """All codes, by impression."""
        codes = {name: values[self.user] for name, values in self.profile.items()}
        codes |= {name: values[self.item] for name, values in self.catalogue.items()}
        return Impressions(self.user, self.item, codes | self.codes, {})


def pair_tables(half: Half) -> PairTables:
    """The same pairs of fields for both tasks together and for each alone."""
    pairs = tuple(product(*HALVES[half]))
    return {"both": pairs, "click": pairs, "conversion": pairs}


def draw_flat(people: np.random.Generator, goods: np.random.Generator, log: np.random.Generator, size: Size) -> FlatLog:
    """Draw everything but the truth."""
    slate = min(SLATE, size.items)
    requests = -(-size.rows // slate)
    user = np.repeat(zipf(log, size.users, requests), slate)[: size.rows]
    time = np.repeat(START + np.sort(log.integers(0, DAYS * 86_400, requests)), slate)[: size.rows]
    return FlatLog(
        profile={name: people.integers(0, ids, size.users) for name, ids in PROFILE.items()},
        catalogue={name: goods.integers(0, ids, size.items) for name, ids in CATALOGUE.items()},
        user=user,
        item=draw_slates(log, size.items, requests, slate).ravel()[: size.rows],
        time=time,
        codes={"hour": time % 86_400 // 3_600, "position": np.arange(size.rows) % slate},
    )
