"""Keys lead to rows, and only the newest content of a slot does."""

import numpy as np

from service.scoring.row_index import NONE, SLOT, Keys, RowIndex, Rows


def keys(*pairs: tuple[int, int]) -> Keys:
    """Keys of these counters and slots."""
    return np.array([counter << 24 | slot for counter, slot in pairs], np.int64)


def rows(*numbers: int) -> Rows:
    return np.array(numbers, np.int32)


def test_a_key_leads_to_its_row_until_it_is_forgotten() -> None:
    index = RowIndex(8)
    asked = keys((1, 5), (2, 900), (3, SLOT))
    assert index.find(asked).tolist() == [NONE] * 3
    index.enter(asked, rows(7, 0, 3))
    assert index.find(asked).tolist() == [7, 0, 3]
    assert index.find(asked).dtype == np.int32
    index.forget(np.array([0, 1]))
    assert index.find(asked).tolist() == [7, NONE, 3]


def test_no_key_is_never_found() -> None:
    index = RowIndex(4)
    nothing = np.zeros(3, np.int64)
    index.find(keys((1, 0)))
    index.enter(keys((1, 0)), rows(2))
    assert index.find(nothing).tolist() == [NONE] * 3
    assert index.find(np.zeros(0, np.int64)).shape == (0,)


def test_a_new_content_of_a_slot_replaces_the_old_one() -> None:
    index = RowIndex(4)
    old, new = keys((1, 5)), keys((2, 5))
    index.find(old)
    index.enter(old, rows(0))
    index.enter(new, rows(1))
    assert index.find(np.append(old, new)).tolist() == [NONE, 1]
    index.forget(np.array([0]))  # the old one's row
    assert index.find(new).tolist() == [1]


def test_of_two_contents_of_a_slot_at_once_one_leads_and_forgetting_the_other_leaves_it() -> None:
    index = RowIndex(4)
    both = keys((1, 5), (2, 5))
    index.find(both)
    index.enter(both, rows(0, 1))
    found = index.find(both)
    assert (found == NONE).sum() == 1
    winner = int(found.max())
    index.forget(np.array([1 - winner]))
    assert index.find(both).max() == winner
    index.forget(np.array([winner]))
    assert index.find(both).tolist() == [NONE, NONE]
