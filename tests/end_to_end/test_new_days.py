"""A model of earlier days is served while rows of new days come to Redis, with ids beyond its tables."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import polars as pl

from contract.dictionary import Dictionary
from contract.schema import Side
from tests.end_to_end.conftest import Stack, finish
from tests.end_to_end.reference import Reference
from training.datasets.prepared import KEY

NEW = 5  # ids of each field that the model does not know


def grow(data: Path, new: Path) -> Path:
    """Prepared data as new days leave them: longer tables of ids, and a user and an item that have the last ones."""
    shutil.copytree(data, new)
    schema = json.loads((new / "schema.json").read_bytes())
    last = {}
    for field in schema["fields"]:
        if field.get("encoding", "dictionary") == "dictionary" and field["kind"] != "numeric":
            field["size"] += NEW
            file = new / "dictionaries" / f"{field['name']}.npz"
            Dictionary.load(file).extended(f"new {i}" for i in range(NEW)).save(file)
            last[field["name"]] = field["size"] - 1
    (new / "schema.json").write_text(json.dumps(schema))
    for side in ("users", "items"):
        part = max((new / side).glob("*.parquet"))
        table = pl.read_parquet(part)
        ids = [
            pl.lit(last[name], kind).alias(name)
            for name, kind in table.schema.items()
            if kind == pl.Int32 and name in last
        ]
        pl.concat([table, table.head(1).with_columns(pl.lit(f"new of {side}").alias(KEY), *ids)]).write_parquet(part)
    described = json.loads((new / "prepared.json").read_bytes())
    described |= {"users": described["users"] + 1, "items": described["items"] + 1, "digest": "new days"}
    (new / "prepared.json").write_text(json.dumps(described))
    return new


def test_rows_of_new_days_are_scored_by_the_model_of_earlier_ones(stack: Stack, tmp_path: Path) -> None:
    new = grow(stack.folder / "data", tmp_path / "new")
    finish(tmp_path, "export", "features", "--data", str(new), "--redis", stack.redis)
    reference = Reference(new, stack.folder / "runs" / "dtn")
    items = [reference.keys(Side.ITEM)[0], "new of items"]
    row = reference.tables[Side.ITEM].filter(pl.col(KEY) == "new of items")
    known = reference.model.item.sizes_of
    assert any(row[name].item() >= size for name, size in known.items() if row.schema.get(name) == pl.Int32)
    expected = reference.scores("new of users", items, {}, [{}, {}])
    body = {"user": {"id": "new of users"}, "item_ids": items, "arm": "dtn"}
    deadline = time.monotonic() + 20
    while True:
        status, reply = stack.post(body)
        assert status == 200, reply
        if np.allclose(reply["scores"]["ctr"], expected["ctr"], atol=1e-5) or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    for task, scores in expected.items():
        np.testing.assert_allclose(reply["scores"][task], scores, atol=1e-5, rtol=0)
