"""A synthetic log as files of Ali-CCP: its earlier half is the training file, the later one the test file.

User 7 is the common row 0000000000000007 and has the ids of number 7 in its fields' ranges; items likewise. Fields that
the synthetic log lacks follow from those that it has, and add nothing to predict by: the profile's group from the
profile, histories of brands and intentions from those of shops and categories, and their crosses by chance, as often
missing as in the real files. The hour, the position, the price and the truth have no place in the format.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import ConfigError
from training.datasets.aliccp.files import PARTS, Part
from training.datasets.aliccp.layout import IMPRESSION, INDEX, LABELS, USER, Member
from training.datasets.aliccp.writer import write_aliccp
from training.datasets.synthetic.counters import stream, uniforms
from training.datasets.synthetic.log import Block, Log
from training.datasets.synthetic.population import CATALOGUE, INTENTIONS, Population, Things
from training.datasets.synthetic.spec import Ints, Spec
from training.datasets.synthetic.tables import interactions

MEMBERS = {member.name: member for member in (*USER, *IMPRESSION)}
PROFILE = {
    "profile": "segment",
    "gender": "gender",
    "age": "age",
    "consumption_1": "consumption",
    "consumption_2": "shopping_depth",
    "occupation": "occupation",
    "geography": "city",
}
GROUPS = 13  # of profiles
BRAND_KNOWN, BRAND_MET, INTENTION_MET = 0.73, 0.26, 0.45  # shares of impressions in the real files
SIDE_BLOCK = 16_384  # users at a time

Lists = NDArray[np.int16]  # codes [longest, n], 0 where there is none


@dataclass(frozen=True)
class Drawn:
    """The frames that the writer takes, of one spec."""

    spec: Spec
    log: Log
    met: dict[Part, NDArray[np.bool_]]  # users of the impressions written so far, [users]

    @property
    def population(self) -> Population:
        """Users and items."""
        return self.log.world.population

    def impressions(self) -> Iterator[tuple[Part, pl.DataFrame]]:
        """All rows in order; the user of a row is met in its part."""
        size, middle = self.log.block_rows, self.spec.requests // 2 * self.spec.slate
        for first in range(0, self.spec.rows, size):
            block = self.log.block(first // size)
            frame = self._rows(block, first)
            users, cut = block.requests.user[block.request], max(0, middle - first)
            for part, rows in zip(PARTS, (slice(0, cut), slice(cut, None)), strict=True):
                self.met[part][users[rows]] = True
                yield part, frame[rows]

    def users(self, part: Part) -> Iterator[pl.DataFrame]:
        """Common rows of the users that the part's impressions met."""
        numbers = np.flatnonzero(self.met[part])
        for start in range(0, len(numbers), SIDE_BLOCK):
            yield self._common(numbers[start : start + SIDE_BLOCK])

    def _rows(self, block: Block, first: int) -> pl.DataFrame:
        goods = {name: values[block.item] for name, values in self.population.catalogue.codes.items()}
        goods = {name: values.astype(np.int64) for name, values in goods.items()}
        users, request = self.population.users(block.requests.user), block.request
        wanted = self.population.intentions(block.item, goods["category"])
        chances = uniforms(stream(self.spec.seed, "aliccp"), first + np.arange(len(request)), 3)
        columns = [
            _indices(block.requests.user).gather(request),
            *interactions(self.spec, block).select(LABELS),
            _ids(MEMBERS["item_id"], block.item + 1),
            *(_ids(MEMBERS[name], goods[name]) for name in ("category", "shop", "brand")),
            _ids(MEMBERS["scenario"], block.requests.scene[request]),
            *_lists("intention", wanted, np.ones(wanted.shape)),
        ]
        for name in ("category", "shop"):
            codes = block.crosses[f"{name}_in_history"]
            columns += _lists(f"{name}_in_history", codes[None], _times(users, name, request, codes))
        brand = np.where(chances[:, 0] < BRAND_MET / BRAND_KNOWN, goods["brand"], 0)
        columns += _lists("brand_in_history", brand[None], 1 + _few(chances[None, :, 2]))
        served = np.where((chances[:, 1] < INTENTION_MET) & (chances[:, 2] < [[1.0], [0.2]]), wanted[:2], 0)
        columns += _lists("intention_in_history", served, 1 + _few(chances[None, :, 0] + [[0.0], [0.3]]))
        return pl.DataFrame(columns)

    def _common(self, numbers: Ints) -> pl.DataFrame:
        drawn = self.population.users(numbers)
        columns = [_indices(numbers), _ids(MEMBERS["user_id"], numbers + 1)]
        columns += [_ids(MEMBERS[name], drawn.codes[source].astype(np.int64)) for name, source in PROFILE.items()]
        columns.append(_ids(MEMBERS["profile_group"], 1 + drawn.codes["segment"].astype(np.int64) % GROUPS))
        category, shop = drawn.lists["category"], drawn.lists["shop"]
        for name, codes in (("category", category), ("shop", shop)):
            columns += _counted(name, codes)
        columns += _counted("brand", np.where(shop > 0, 1 + shop % CATALOGUE["brand"], 0).astype(np.int16))
        columns += _counted("intention", np.where(category > 0, 1 + category * 7 % INTENTIONS, 0).astype(np.int16))
        return pl.DataFrame(columns)


def write_synthetic(spec: Spec, folder: Path) -> None:
    """Write the four files; ConfigError where the ranges of the format do not hold so many users or items."""
    if spec.shape != "aliccp":
        raise ConfigError(f"--shape {spec.shape} has not the fields of Ali-CCP; use --shape aliccp")
    for name, count in (("user_id", spec.users), ("item_id", spec.items)):
        member = MEMBERS[name]
        if count > (most := member.last - member.first + 1):
            raise ConfigError(f"{count:,} ids of field {member.code} ({name}); Ali-CCP's format has room for {most:,}")
    drawn = Drawn(spec, Log(spec), {part: np.zeros(spec.users, np.bool_) for part in PARTS})
    write_aliccp(folder, drawn.impressions(), drawn.users)


def _indices(users: Ints) -> pl.Series:
    return pl.Series(INDEX, users).cast(pl.String).str.zfill(16)


def _ids(member: Member, codes: Ints) -> pl.Series:
    """Ids of codes from 1; null for 0."""
    return pl.Series(member.name, codes + (member.first - 1)).cast(pl.Int32).set(pl.Series(codes == 0), None)


def _lists(name: str, codes: NDArray[np.int64] | Lists, times: NDArray[np.float64]) -> list[pl.Series]:
    """Lists of ids of codes [longest, n], 0 for none, and where the field has them lists of ln(1 + times)."""
    member, (longest, count) = MEMBERS[name], codes.shape
    flat = codes.T.ravel().astype(np.int64)
    values = np.log1p(np.broadcast_to(times, codes.shape).T.ravel()).round(5).astype(np.float32)
    known = pl.DataFrame({"row": np.repeat(np.arange(count), longest), name: flat + (member.first - 1)})
    known = known.with_columns(pl.col(name).cast(pl.Int32), pl.Series(member.weights, values)).filter(flat > 0)
    lists = known.group_by("row", maintain_order=True).agg(pl.all())
    rows = pl.DataFrame({"row": np.arange(count)}).join(lists, on="row", how="left", maintain_order="left")
    return [rows[name], rows[member.weights]] if member.weighted else [rows[name]]


def _counted(name: str, codes: Lists) -> list[pl.Series]:
    """A history: each id once, in the order in which it was met first, with how often it was met."""
    again = np.stack([(codes[:place] == codes[place]).any(axis=0) for place in range(len(codes))])
    times = np.stack([(codes == entry).sum(axis=0) for entry in codes]).astype(np.float64)
    return _lists(f"{name}_history", np.where(again, 0, codes), times)


def _times(users: Things, name: str, request: Ints, codes: Ints) -> NDArray[np.float64]:
    """How often each row's code is in its user's history: [1, n]."""
    met = users.lists[name][:, request] == codes  # [longest, n]
    times: NDArray[np.float64] = met.sum(axis=0).astype(np.float64)[None]
    return times


def _few(chances: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.floor(chances * 10)
