"""Lines of the files → cells, and features one by one: vectorised. Lines that do not fit are told apart, never raised.

A line ends in `feature_num,feature_list`; features are separated by \\x01, and each is field \\x02 id \\x03 value.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from training.datasets.aliccp.layout import INDEX, LABELS, Member

COMMON_CELLS = (INDEX, "feature_num", "feature_list")
LARGEST = float(np.finfo(np.float32).max)
SKELETON_CELLS = ("sample_id", *LABELS, *COMMON_CELLS)


class Features(NamedTuple):
    """Features in the order of the file, [features] each."""

    row: NDArray[np.int64]  # ascending
    field: NDArray[np.uint8]  # place among the members
    id: NDArray[np.int32]
    value: NDArray[np.float32]

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Features":
        """Those that are chosen by a mask, or by their places."""
        return Features(self.row[chosen], self.field[chosen], self.id[chosen], self.value[chosen])


class Lines(NamedTuple):
    """Cells as text of the lines that fit, their features, where they stood, and the lines that do not fit."""

    cells: pl.DataFrame
    features: Features
    places: NDArray[np.int64]  # among all lines, [len(cells)]
    bad: list[tuple[int, str, str]]  # place, why, line


def parse(block: bytes, cells: Sequence[str], members: Sequence[Member]) -> Lines:
    """Parse whole lines, each ended by \\n."""
    lines = pl.Series([block[:-1].decode(errors="replace")]).str.split("\n").explode(empty_as_null=False)
    split = lines.str.splitn(",", len(cells)).struct.rename_fields(list(cells)).struct.unnest()
    lists = split["feature_list"].fill_null("")
    full = np.flatnonzero((lists != "").to_numpy())
    texts = lists.gather(full).str.split("\x01")
    counts = np.zeros(len(lines), np.int64)
    counts[full] = texts.list.len().to_numpy()
    features, odd = _features(texts.explode(), np.repeat(np.arange(len(lines)), counts), members)
    fits = _cells_fit(split, counts)
    fits[odd] = False
    bad = [(int(place), _why(lines[int(place)], cells, members), lines[int(place)]) for place in np.flatnonzero(~fits)]
    return Lines(split.filter(fits), _of_rows(features, fits), np.flatnonzero(fits), bad)


def _features(
    texts: pl.Series, row: NDArray[np.int64], members: Sequence[Member]
) -> tuple[Features, NDArray[np.int64]]:
    """Features, and the rows of those that cannot be read."""
    codes = pl.Enum([member.code for member in members])
    field, rest = pl.col("field"), pl.col("rest")
    parts = texts.str.splitn("\x02", 2).struct.rename_fields(["field", "rest"]).struct.unnest()
    parts = parts.select(field, rest.str.splitn("\x03", 2).struct.rename_fields(["id", "value"])).unnest("rest")
    typed = parts.select(
        field.cast(codes, strict=False).to_physical(),
        pl.col("id").cast(pl.Int32, strict=False),
        pl.col("value").cast(pl.Float32, strict=False),
    )
    sound = typed.select(pl.col("field", "id").is_not_null(), pl.col("value").is_finite().fill_null(False))
    odd = row[~sound.select(pl.all_horizontal(pl.all())).to_series().to_numpy()]
    typed = typed.fill_null(0)
    return Features(row, typed["field"].to_numpy(), typed["id"].to_numpy(), typed["value"].to_numpy()), odd


def _cells_fit(cells: pl.DataFrame, counts: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether all cells are there, labels are 0 or 1, and the number of features is the one told."""
    labels = [pl.col(name).is_in(["0", "1"]) for name in LABELS if name in cells.columns]
    told = pl.col("feature_num").cast(pl.Int64, strict=False) == pl.Series(counts)
    fits = pl.all_horizontal(pl.col("feature_list").is_not_null(), pl.col(INDEX) != "", told, *labels)
    return cells.select(fits.fill_null(False)).to_series().to_numpy().copy()


def _of_rows(features: Features, fits: NDArray[np.bool_]) -> Features:
    """Features of the rows that fit, which are numbered anew."""
    if fits.all():
        return features
    kept = features.where(fits[features.row])
    return kept._replace(row=(np.cumsum(fits) - 1)[kept.row])


def _why(line: str, cells: Sequence[str], members: Sequence[Member]) -> str:
    """What is wrong with a line that does not fit."""
    values = dict(zip(cells, line.split(",", len(cells) - 1), strict=False))
    if len(values) < len(cells):
        return f"{len(values)} cells, not {len(cells)}: {','.join(cells)}"
    for name in LABELS:
        if values.get(name, "0") not in ("0", "1"):
            return f"{name} is {values[name]!r}; a label is 0 or 1"
    if not values[INDEX]:
        return f"no {INDEX}"
    features = values["feature_list"].split("\x01") if values["feature_list"] else []
    for feature in features:
        if (why := _why_not(feature, members)) is not None:
            return why
    return f"feature_num is {values['feature_num']!r}; the list has {len(features)}"


def _why_not(feature: str, members: Sequence[Member]) -> str | None:
    """What is wrong with a feature, if anything is."""
    field, _, rest = feature.partition("\x02")
    number, _, value = rest.partition("\x03")
    if field not in (member.code for member in members) and number and value:
        return f"feature {feature!r}: this file has no field {field!r}"
    try:
        sound = bool(field) and -(2**31) <= int(number) < 2**31 and abs(float(value)) <= LARGEST
    except ValueError:
        sound = False
    return None if sound else f"feature {feature!r} is not field\\x02id\\x03value"
