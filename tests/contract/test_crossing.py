"""Crosses are the same numbers everywhere and for ever, and 0 where a side is unknown."""

import numpy as np

from contract.crossing import Crosses, cross_ids
from contract.schema import Field, Schema, Side, Task

SCHEMA = Schema(
    fields=(
        Field(name="user", side=Side.USER, size=100),
        Field(name="likes", side=Side.USER, kind="multi", max_length=2, size=9),
        Field(name="user_hour", side=Side.CONTEXT, cross=("user", "hour"), encoding="hash", buckets=1000, size=1001),
        Field(name="hour", side=Side.CONTEXT, encoding="hour", size=25),
        Field(name="item", side=Side.ITEM, size=50),
        Field(name="brand", side=Side.ITEM, size=50),
        Field(name="item_user", side=Side.CROSS, cross=("item", "user"), encoding="hash", buckets=1000, size=1001),
        Field(name="pair", side=Side.CROSS, cross=("item", "brand"), encoding="hash", buckets=7, size=8),
    ),
    tasks=(Task(name="ctr", label="click"),),
)


def ids(*values: int) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    return np.array(values, np.int32)


def test_the_hash_is_known() -> None:
    # other values here would make every trained model wrong
    assert cross_ids(ids(1, 2, 2**31 - 1), ids(2, 1, 5), 1_000_000).tolist() == [340515, 91530, 382077]


def test_zero_on_either_side_is_zero() -> None:
    assert cross_ids(ids(0, 3, 0), ids(4, 0, 0), 10).tolist() == [0, 0, 0]


def test_ids_are_spread_over_all_buckets() -> None:
    left, right = np.divmod(np.arange(200_000, dtype=np.int32), 1_000)
    found = cross_ids(left + 1, right + 1, 100)
    counts = np.bincount(found, minlength=101)
    assert counts[0] == 0
    assert len(counts) == 101
    assert abs(counts[1:] - 2_000).max() < 250  # five standard deviations


def test_crosses_of_one_request_and_of_rows_side_by_side_are_the_same() -> None:
    request = np.array([[3, 1, 2, 0, 13], [99, 0, 0, 0, 1]], np.int32)  # user, likes, user_hour, hour
    items = np.array([[5, 6, 0, 0], [7, 0, 0, 0], [49, 8, 0, 0]], np.int32)  # item, brand, item_user, pair
    crosses, owner = Crosses(SCHEMA), ids(1, 0, 1)
    several, of_several = request.copy(), items.copy()
    crosses.fill(several, of_several, owner)
    beside, of_beside = request[owner], items.copy()
    crosses.fill(beside, of_beside)
    assert (several[owner] == beside).all()
    assert (of_several == of_beside).all()
    single, of_single = request[1:].copy(), items.copy()
    crosses.fill(single, of_single)
    assert (of_single[[0, 2]] == of_several[[0, 2]]).all()
    assert several[:, 3].tolist() == cross_ids(ids(3, 99), ids(13, 1), 1000).tolist()
    assert of_several[:, 2].tolist() == cross_ids(ids(5, 7, 49), ids(99, 3, 99), 1000).tolist()
    assert of_several[1, 3] == 0 < of_several[0, 3] < 8
    several[:, 3] = of_several[:, 2:] = 0
    assert (several == request).all()
    assert (of_several == items).all()


def test_an_id_beyond_its_table_is_unknown() -> None:
    request, items = np.array([[100, 0, 0, 0, 13], [-1, 0, 0, 0, 13]], np.int32), np.full((2, 4), 1, np.int32)
    Crosses(SCHEMA).fill(request, items)
    assert request[:, 3].tolist() == items[:, 2].tolist() == [0, 0]


def test_a_schema_without_crosses_has_none() -> None:
    assert Crosses(SCHEMA)
    assert not Crosses(Schema(fields=SCHEMA.fields[:2], tasks=SCHEMA.tasks))
