"""How often impressions have a value of a field, and how often that value has no id: exact, by split."""

from collections.abc import Iterable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.schema import Field, Kind
from training.datasets.prepared import SPLITS, Seen, SplitName

MISSING = ":missing"  # ends the name of a column that says which numbers were
Tally = NDArray[np.int64]  # [4, splits]: impressions, those without a value, values, values without an id
Tallies = dict[str, list[list[int]]]  # by field, as JSON has them


def tallies(
    fields: Iterable[Field], coded: pl.DataFrame, encoded: Mapping[str, pl.Series], often: NDArray[np.int64]
) -> Tallies:
    """Count rows, each as often as each split has it: `often` [rows, splits]."""
    return {field.name: _tally(field, coded, encoded[field.name], often).tolist() for field in fields}


def _tally(field: Field, coded: pl.DataFrame, encoded: pl.Series, often: NDArray[np.int64]) -> Tally:
    has, unknown = _values(field, coded, encoded)
    values, unseen = (found if found.ndim == 1 else np.count_nonzero(found, axis=1) for found in (has, unknown))
    return np.stack([often.sum(axis=0), _weighed(values == 0, often), _weighed(values, often), _weighed(unseen, often)])


def _weighed(counts: NDArray[np.int64] | NDArray[np.bool_], often: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of counts [rows] by split; most are 0 of what is rare."""
    met = np.flatnonzero(counts)
    found: NDArray[np.int64] = counts[met].astype(np.int64) @ often[met]
    return found


def _values(field: Field, coded: pl.DataFrame, encoded: pl.Series) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where there is a value, and where it has no id: [rows], or [rows, slots] of a multi field."""
    if field.kind is Kind.NUMERIC:
        name = f"{field.name}{MISSING}"
        has = ~coded[name].to_numpy() if name in coded.columns else np.ones(len(coded), bool)
        return has, np.zeros(len(coded), bool)
    known = encoded.to_numpy() > 0
    has = coded[field.name].to_numpy() > 0 if field.needs_dictionary else known
    return has, has & ~known


def total(parts: Iterable[Tallies]) -> Tallies:
    """All chunks together; integers, so that chunks may be cut anywhere."""
    found: dict[str, Tally] = {}
    for part in parts:
        for name, tally in part.items():
            found[name] = found.get(name, 0) + np.array(tally, np.int64)
    return {name: tally.tolist() for name, tally in found.items()}


def described(tallied: Tallies, rows: Mapping[SplitName, int]) -> dict[str, dict[SplitName, Seen]]:
    """By field and split; without fields some of whose impressions show rows that an earlier data set encoded."""
    return {
        name: {
            split: Seen(missing=missing, values=values, unseen=unseen)
            for split, (_, missing, values, unseen) in zip(SPLITS, zip(*tally, strict=True), strict=True)
        }
        for name, tally in tallied.items()
        if tally[0] == [rows[split] for split in SPLITS]
    }
