"""What all chunks say together: vocabularies, means and scales, edges; or those of an earlier data set, extended."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from contract.dictionary import Dictionary
from contract.schema import Encoding, Field, Kind
from training.datasets.merge import vocabulary
from training.datasets.preparation.measuring import Moments, cut, scaled
from training.datasets.prepared import Prepared

FIXED = {Encoding.HOUR: 25, Encoding.WEEKDAY: 8}


def measured(
    field: Field,
    folders: Sequence[Path],
    moments: Iterable[Moments],
    merging: Path,
    out: Path,
    earlier: Prepared | None,
) -> Field:
    """The field with size and lineage, mean and scale, or edges; its dictionary is written to `out`."""
    if earlier is not None:
        field = earlier.schema.by_name[field.name]
    if field.needs_dictionary:
        dictionary = _dictionary(field, folders, merging, earlier)
        dictionary.save(out / f"{field.name}.npz")
        return field.model_copy(update={"size": dictionary.size, "lineage": dictionary.lineage})
    if earlier is not None:
        return field
    if field.kind is Kind.NUMERIC:
        return field if field.transform == "none" else scaled(field, moments)
    if field.encoding is Encoding.QUANTILE:
        return cut(field, [folder / f"{field.name}.npy" for folder in folders])
    size = FIXED.get(field.encoding, (field.buckets or 0) + 1)
    return field.model_copy(update={"size": size, "lineage": ""})


def _dictionary(field: Field, folders: Sequence[Path], merging: Path, earlier: Prepared | None) -> Dictionary:
    files = [folder / f"{field.name}.parquet" for folder in folders]
    found = vocabulary(files, field.min_count, merging)
    return Dictionary.ordered(found) if earlier is None else earlier.dictionaries[field.name].extended_by(found)


def grown(earlier: Prepared, fields: Iterable[Field]) -> dict[str, tuple[int, int]]:
    """How many values each dictionary had, and has."""
    return {
        field.name: (earlier.schema.by_name[field.name].size - 1, field.size - 1)
        for field in fields
        if field.needs_dictionary
    }
