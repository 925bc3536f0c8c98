"""Warm start: a model begins with what an earlier run learnt, on data that extend that run's.

New days bring new ids: the tables grow at their ends. Rows of ids that the run knew are copied field by field, and a
new id begins as its field's row 0, by which the run itself scored values that it did not know: on rows with new ids of
a synthetic log PLE's AUC was .605 before training and .647 after one epoch, where rows drawn anew had .594 and .635.
All other weights, the code books of pairs, knots of numbers and scales of labels are the run's. The optimiser starts
anew, and calibration is fitted anew.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from contract.dictionary import Dictionary
from contract.errors import ConfigError
from contract.files import sha256
from contract.schema import Field, Schema, Task
from training.checkpoint import Checkpoint, WarmStart, load_checkpoint
from training.config import Recipe
from training.datasets.prepared import Prepared
from training.models import Ranker
from training.models.embedding import SideEmbedding
from training.models.memonet import PairHash
from training.models.tables import FieldTables
from training.resume import flat

# settings that change neither what a weight means nor its shape; the fields that MemoNet pairs are compared themselves
FREE = ("dropout", "field_dropout", "embedding_std", "tables", "calibration", "memonet.fields")
MEASURED = ("transform", "mean", "scale", "edges")  # of a field, by the first `prepare`
TABLES = ("request.table.", "item.table.")
OF_SIZES = ("request.ids.", "item.ids.")


def origin_of(run: Path) -> WarmStart:
    """What names the weights of a run; ConfigError where it has none."""
    try:
        return WarmStart(run=str(run.resolve()), weights=sha256(run / "model.safetensors"))
    except OSError:
        raise ConfigError(f"--from {run}: not a training run; `python -m training train` writes one") from None


def start_from(run: Path, model: Ranker, name: str, recipe: Recipe, data: Prepared) -> dict[str, int]:
    """Give a fresh model the weights of a run, in place; returns new ids by field.

    ConfigError where the run's model is another one, or the data do not extend those that it was trained on.
    """
    earlier = load_checkpoint(run, against=data)
    where = f"--from {run}"
    _refuse_another_model(where, earlier, name, recipe, data.schema)
    _refuse_other_data(where, earlier, data)
    _refuse_other_pairs(where, earlier.model, model)
    _copy(earlier.model, model)
    return {
        field.name: field.size - earlier.schema.by_name[field.name].size
        for field in data.schema.fields
        if field.size > earlier.schema.by_name[field.name].size
    }


@torch.no_grad()
def _copy(earlier: Ranker, model: Ranker) -> None:
    for side in ("request", "item"):
        known = _rows(getattr(earlier, side))
        for field, rows in _rows(getattr(model, side)).items():
            rows[: len(known[field])] = known[field]
            rows[len(known[field]) :] = known[field][0]
    learnt = earlier.state_dict()
    for name, weight in model.state_dict().items():  # both share the memory of their models
        if not name.startswith((*TABLES, *OF_SIZES)) and ".calibration." not in name:
            weight.copy_(learnt[name])


def _rows(side: SideEmbedding) -> dict[str, Tensor]:
    """Each field's rows, as they lie in the table."""
    if isinstance(side.table, FieldTables):
        return {name: table.weight for name, table in zip(side.sizes_of, side.table.tables, strict=True)}
    return dict(zip(side.sizes_of, torch.split(side.table.weight, list(side.sizes_of.values())), strict=True))


def _refuse_another_model(where: str, earlier: Checkpoint, name: str, recipe: Recipe, schema: Schema) -> None:
    if earlier.config.model != name:
        raise ConfigError(f"{where}: is a {earlier.config.model}, not a {name}; give --model {earlier.config.model}")
    was, now = (flat(of.model.model_dump(mode="json")) for of in (earlier.recipe, recipe))
    if key := _first_difference(was, now):
        raise ConfigError(f"{where}: model.{key} is {was.get(key)} in the run and {now.get(key)} here; give the same")
    tasks = [", ".join(map(_told, of.tasks)) for of in (earlier.schema, schema)]
    if tasks[0] != tasks[1]:
        raise ConfigError(f"{where}: its tasks are {tasks[0]}, those of the data {tasks[1]}; train without --from")


def _first_difference(was: Mapping[str, object], now: Mapping[str, object]) -> str | None:
    return next((key for key in [*now, *was] if key not in FREE and was.get(key) != now.get(key)), None)


def _told(task: Task) -> str:
    return f"{task.name} ({task.kind}, space {task.space})"


def _refuse_other_data(where: str, earlier: Checkpoint, data: Prepared) -> None:
    for field in data.schema.fields:
        was = earlier.schema.by_name[field.name]
        if field.size < was.size:
            raise ConfigError(
                f"{where}: knows {was.size:,} ids of field '{field.name}' and {data.path} has {field.size:,}: "
                "these data are older than the run; train without --from"
            )
        if key := next((key for key in MEASURED if getattr(was, key) != getattr(field, key)), None):
            raise ConfigError(
                f"{where}: {key} of field '{field.name}' is {getattr(was, key)} in the run and {getattr(field, key)} "
                f"in {data.path}; prepare them with --extend of the run's data"
            )
        if field.needs_dictionary:
            _refuse_other_ids(where, field, Dictionary.load(earlier.path / "dictionaries" / f"{field.name}.npz"), data)


def _refuse_other_ids(where: str, field: Field, known: Dictionary, data: Prepared) -> None:
    """Two data sets that extend the same one share its lineage, but not the ids that each has appended."""
    known_texts, texts = known.texts, data.dictionaries[field.name].texts
    ends = known_texts.offsets
    same = np.array_equal(texts.offsets[: len(ends)], ends) and np.array_equal(texts.data[: ends[-1]], known_texts.data)
    if not same:
        raise ConfigError(
            f"{where}: ids of field '{field.name}' mean other values in {data.path}; prepare them with --extend of the "
            "run's own data"
        )


def _refuse_other_pairs(where: str, earlier: Ranker, model: Ranker) -> None:
    """MemoNet may choose the fields that it pairs by their sizes."""
    known, now = ([part for part in of.modules() if isinstance(part, PairHash)] for of in (earlier, model))
    for was, part in zip(known, now, strict=True):
        if was.columns != part.columns:
            pairs = [", ".join(model.categorical[column] for column in of) for of in (was.columns, part.columns)]
            raise ConfigError(
                f"{where}: pairs {pairs[0]} in MemoNet, and these data, by their sizes, {pairs[1]}; "
                f"--set 'model.memonet.fields=[{pairs[0]}]'"
            )
