"""Crosses of two categorical fields: ids hashed from the ids of both, wherever matrices are put together.

They are never stored. An id of 0, or one beyond its field's table, is no value: its cross is 0.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.hashing import mix
from contract.schema import Schema, slot_columns

Ids = NDArray[np.int32]

_STEP = np.uint64(0x9E3779B97F4A7C15)  # splitmix64 adds it before it mixes


def cross_ids(left: Ids, right: Ids, buckets: int) -> Ids:
    """1 + hash(left, right) % buckets of ids that broadcast together; 0 where either is 0.

    The hash mixes left << 32 | right as splitmix64 does: the same on every machine and in every version.
    """
    pairs = left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)
    ids = (mix(pairs + _STEP) % np.uint64(buckets)).astype(np.int32) + np.int32(1)
    return np.where((left != 0) & (right != 0), ids, np.int32(0))


class _Place(NamedTuple):
    """An id column of the request's or the item's matrix."""

    of_item: bool
    column: int
    size: int


class _Cross(NamedTuple):
    to: _Place
    left: _Place
    right: _Place
    buckets: int


class Crosses:
    """The crosses of a schema; false where it has none."""

    def __init__(self, schema: Schema) -> None:
        places = {
            name: _Place(of_item, columns.start, schema.by_name[name].size)
            for of_item, fields in ((False, schema.request_fields), (True, schema.item_fields))
            for name, columns in slot_columns(fields).items()
        }
        self._each = [
            _Cross(places[field.name], places[field.cross[0]], places[field.cross[1]], field.buckets or 1)
            for field in schema.fields
            if field.cross
        ]

    def __bool__(self) -> bool:
        return bool(self._each)

    def fill(self, request_ids: Ids, item_ids: Ids, request_of_item: NDArray[np.int32] | None = None) -> None:
        """Write all crosses into the matrices of R requests and N candidates.

        `request_of_item` [N] names each candidate's request; None: candidate n is of request n, or all of the only one.
        """
        for cross in self._each:
            to = item_ids if cross.to.of_item else request_ids
            owner = request_of_item if cross.to.of_item else None
            left, right = (_known(place, request_ids, item_ids, owner) for place in (cross.left, cross.right))
            to[:, cross.to.column] = cross_ids(left, right, cross.buckets)


def _known(place: _Place, request_ids: Ids, item_ids: Ids, owner: NDArray[np.int32] | None) -> Ids:
    """Ids of a column, those outside its table as 0, [N], [R] or [1]."""
    ids = (item_ids if place.of_item else request_ids)[:, place.column]
    if owner is not None and not place.of_item:
        ids = ids[owner]
    return np.where((ids >= 0) & (ids < place.size), ids, 0)
