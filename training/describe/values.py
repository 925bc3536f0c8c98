"""Ids as a person knows them."""

from calendar import day_name
from collections.abc import Sequence

from contract.dictionary import Dictionary
from contract.schema import Encoding, Field
from training.datasets.prepared import Prepared
from training.describe.figures import number


def value_texts(data: Prepared, field: Field, ids: Sequence[int]) -> list[str]:
    """What ids of a field stand for; only the one dictionary is read."""
    if field.encoding is Encoding.DICTIONARY:
        dictionary = Dictionary.load(data.path / "dictionaries" / f"{field.name}.npz")
        return [text or "" for text in dictionary.decode(ids)]
    return [_computed(field, i) for i in ids]


def _computed(field: Field, i: int) -> str:
    if field.encoding is Encoding.HOUR:
        return f"{i - 1:02d}:00"
    if field.encoding is Encoding.WEEKDAY:
        return day_name[i - 1]
    if field.encoding is Encoding.QUANTILE and field.edges is not None:
        return _between((None, *field.edges)[i - 1], (*field.edges, None)[i - 1])
    return f"bucket {i}"


def _between(low: float | None, high: float | None) -> str:
    if low is None:
        return "any" if high is None else f"below {number(high)}"
    return f"from {number(low)}" if high is None else f"{number(low)} to {number(high)}"
