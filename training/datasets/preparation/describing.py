"""`prepared.json`: what all stages have counted, together; written last of all."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.files import sha256, write_text
from contract.schema import Side
from training.datasets.preparation.days import all_days
from training.datasets.preparation.keys import Rows
from training.datasets.preparation.placing import Placed
from training.datasets.preparation.seen import Tallies, described
from training.datasets.prepared import SPLITS, Description


def write_description(
    result: Path,
    source: str,
    placed: Sequence[Placed],
    sides: Mapping[Side, Rows],
    seen: Tallies,
    rejected: int,
    notes: dict[str, int],
) -> Description:
    """Write `prepared.json` into a data set that is otherwise complete."""
    rows = {name: sum(each.rows[part] for each in placed) for part, name in enumerate(SPLITS)}
    found = Description(
        source=source,
        rows=rows,
        users=sides[Side.USER].count if Side.USER in sides else 0,
        items=sides[Side.ITEM].count if Side.ITEM in sides else 0,
        digest=_digest(result),
        rejected=rejected,
        notes=notes,
        fields=described(seen, rows),
        days=all_days(each.days for each in placed),
    )
    write_text(result / "prepared.json", found.model_dump_json(indent=1) + "\n")
    return found


def _digest(result: Path) -> str:
    tables = hashlib.sha256()
    for side in (Side.USER, Side.ITEM):
        for file in sorted((result / f"{side}s").glob("*.parquet")):
            tables.update(bytes.fromhex(sha256(file)))
    return tables.hexdigest()
