"""Raw values → ids and numbers, the same for prepare and the service."""

import pytest

from contract.dictionary import Dictionary
from contract.encoding import Raw, encode_field
from contract.schema import Field, Side

CITY = Dictionary.build({"Rome": 3, "Oslo": 2, "7": 1})


def field(**settings: object) -> Field:
    return Field.model_validate({"name": "f", "side": Side.USER, **settings})


def test_categorical_values_and_their_default() -> None:
    values: list[Raw] = ["Oslo", 7, 7.0, "unseen", None]
    assert encode_field(field(default="Rome"), {"f": CITY}, values)[:, 0].tolist() == [2, 3, 3, 0, 1]
    assert encode_field(field(), {"f": CITY}, [None]).tolist() == [[0]]


def test_multi_values_from_lists_and_text_are_cut_and_padded() -> None:
    multi = field(kind="multi", max_length=2)
    values: list[Raw] = [["Rome", "Oslo", "7"], "Oslo|Rome", "7", [], None]
    assert encode_field(multi, {"f": CITY}, values).tolist() == [[1, 2], [2, 1], [3, 0], [0, 0], [0, 0]]


def test_hashed_values_need_no_dictionary() -> None:
    ids = encode_field(field(encoding="hash", buckets=50), {}, ["a", "b", "a", None])[:, 0].tolist()
    assert ids[0] == ids[2] != ids[1]
    assert ids[3] == 0
    assert all(0 <= i <= 50 for i in ids)


def test_numbers_and_their_default() -> None:
    assert encode_field(field(kind="numeric", default=2.5), {}, [1, None, True, -0.5]).tolist() == [1, 2.5, 1, -0.5]


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        ({"kind": "numeric"}, "3"),
        ({"kind": "numeric"}, float("nan")),
        ({"kind": "numeric"}, float("inf")),
        ({"kind": "numeric"}, 1e300),
        ({}, ["Rome"]),
        ({"kind": "multi", "max_length": 2}, [["Rome"]]),
    ],
)
def test_a_value_of_another_kind_is_refused_by_field_name(settings: dict[str, object], value: Raw) -> None:
    with pytest.raises(ValueError, match="field 'f' takes"):
        encode_field(field(**settings), {"f": CITY}, [value])
