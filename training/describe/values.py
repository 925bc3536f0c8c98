"""Ids as a person knows them."""

from collections.abc import Sequence

from contract.dictionary import Dictionary
from contract.schema import Encoding, Field
from training.datasets.prepared import Prepared


def value_texts(data: Prepared, field: Field, ids: Sequence[int]) -> list[str]:
    """What ids of a field stand for; only the one dictionary is read."""
    if field.encoding is not Encoding.DICTIONARY:
        return [f"bucket {i}" for i in ids]
    dictionary = Dictionary.load(data.path / "dictionaries" / f"{field.name}.npz")
    return [text or "" for text in dictionary.decode(ids)]
