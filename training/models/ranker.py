"""What every model shares: the graph's inputs, the embedding of both sides, and a head a task."""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field as Attribute
from torch import Tensor, nn

from contract.errors import ConfigError
from contract.schema import Schema, Strict
from training.losses import space_losses
from training.models.calibration import Method
from training.models.embedding import SideEmbedding
from training.models.features import BaggedFeatures, Block, Features, GatheredFeatures, Lookup
from training.models.heads import Head, Regression, build_head
from training.models.tables import Tables
from training.models.towers import Tower

Width = Annotated[int, Attribute(ge=1)]
SMALL = 4  # a field is looked up as products where a batch has this many rows for each of its ids


class ModelSettings(Strict):
    """Settings of every model. `regression`: the head of a continuous task; `positive_weight`: of a binary one."""

    embedding: Width = 16
    embedding_std: float = Attribute(default=0.1, gt=0)
    tables: Tables = "one"  # for all fields of a side, or one a field; sharded: over the processes of torchrun
    tower: tuple[Width, ...] = (64,)
    dropout: float = Attribute(default=0.0, ge=0, lt=1)
    field_dropout: float = Attribute(default=0.0, ge=0, lt=1)  # of a row's whole fields: its vectors become 0
    regression: dict[str, Regression] = Attribute(default_factory=dict)  # default mse
    positive_weight: dict[str, Annotated[float, Attribute(gt=0)]] = Attribute(default_factory=dict)  # default 1
    calibration: Method = "platt"


class Ranker(nn.Module):
    """A multi-task model: N candidates of R requests → one value a candidate and task.

    Inputs, columns as contract.schema lays out `request_fields` and `item_fields`: request_ids [R, Fr] and item_ids
    [N, Fi] int32, request_dense [R, Dr] and item_dense [N, Di] float32, request_of_item [N] in [0, R).

    A model reads `Features` in `score` and returns what its heads read. It may replace `losses` and `backward`.
    """

    def __init__(self, schema: Schema, settings: ModelSettings) -> None:
        super().__init__()
        self.schema_tasks = schema.tasks
        self.tasks = tuple(task.name for task in schema.tasks)
        _refuse_strangers(schema, settings)
        self.heads = nn.ModuleList(
            build_head(
                task,
                settings.regression.get(task.name, "mse"),
                settings.positive_weight.get(task.name, 1.0),
                settings.calibration,
            )
            for task in schema.tasks
        )
        sides = (schema.request_fields, schema.item_fields)
        width, std, tables = settings.embedding, settings.embedding_std, settings.tables
        self.request, self.item = (SideEmbedding(side, width, std, tables) for side in sides)
        self.field_dropout = settings.field_dropout
        self.field_names = self.request.names + self.item.names  # the order of `vectors`
        self.categorical = self.request.categorical + self.item.categorical  # the order of `ids`

    def forward(
        self,
        request_ids: Tensor,
        request_dense: Tensor,
        item_ids: Tensor,
        item_dense: Tensor,
        request_of_item: Tensor,
    ) -> tuple[Tensor, ...]:
        """Values, [N] a task in schema order: calibrated probabilities, or a continuous task's means."""
        return self.values(self.raw(request_ids, request_dense, item_ids, item_dense, request_of_item))

    def values(self, raw: Tensor) -> tuple[Tensor, ...]:
        """What raw outputs [N, sum of head widths] mean, [N] a task."""
        return tuple(head.value(part) for head, part in zip(self.each_head, self.parts(raw), strict=True))

    def raw(
        self,
        request_ids: Tensor,
        request_dense: Tensor,
        item_ids: Tensor,
        item_dense: Tensor,
        request_of_item: Tensor | None = None,
    ) -> Tensor:
        """Raw outputs [N, sum of head widths]. What depends on the request alone is computed once a request.

        Without `request_of_item` row n of the request belongs to candidate n, as in training.
        """
        sparse = self.request.table.sparse  # gradients: not through the bags, whose table's gradient is dense
        if request_of_item is None and self.training and item_ids.device.type == "cpu" and not sparse:
            return self.score(self._bagged(request_ids, request_dense, item_ids, item_dense))
        vectors, ids = [], []
        if self.request.names:
            request, safe = self.request(request_ids, request_dense)
            of_item = request_of_item
            vectors.append(request if of_item is None else request.index_select(0, of_item))
            ids.append(safe if of_item is None else safe.index_select(0, of_item))
        if self.item.names:
            item, safe = self.item(item_ids, item_dense)
            vectors.append(item)
            ids.append(safe)
        joined = torch.cat(vectors, dim=1)
        if self.training and self.field_dropout:
            joined = joined * self._kept(len(joined)).to(joined.device).unsqueeze(2)
        return self.score(GatheredFeatures(joined, torch.cat(ids, dim=1)))

    def score(self, features: Features) -> Tensor:
        """Raw outputs [N, sum of head widths]."""
        raise NotImplementedError

    def losses(self, raw: Tensor, labels: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Sum of losses and number of rows, [tasks] each, over the counted rows of labels and counted [N, tasks]."""
        return space_losses(self.each_loss(raw, labels), counted)

    def backward(self, losses: Tensor) -> None:
        """Gradients of the tasks' weighted losses [tasks]."""
        losses.sum().backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def each_loss(self, raw: Tensor, labels: Tensor) -> Tensor:
        """[N, tasks]."""
        each = zip(self.each_head, self.parts(raw), labels.unbind(1), strict=True)
        return torch.stack([head.loss(part, of_task) for head, part, of_task in each], dim=1)

    @property
    def each_head(self) -> list[Head]:
        """The heads, in task order."""
        return [head for head in self.heads if isinstance(head, Head)]

    def parts(self, raw: Tensor) -> tuple[Tensor, ...]:
        """Raw outputs by task, [N, width] each."""
        return tuple(torch.split(raw, [head.width for head in self.each_head], dim=1))

    def task_towers(self, inputs: int, settings: ModelSettings) -> nn.ModuleList:
        """A tower a task, as wide at its end as the task's head."""
        return nn.ModuleList(Tower(inputs, settings.tower, settings.dropout, head.width) for head in self.each_head)

    def measure(self, request_dense: Tensor, item_dense: Tensor, labels: Tensor, counted: Tensor) -> None:
        """Fit what is measured rather than learnt to training rows, before training: numeric knots, label scales."""
        self.request.measure(request_dense)
        self.item.measure(item_dense)
        for head, of_task, known in zip(self.each_head, labels.unbind(1), counted.unbind(1), strict=True):
            head.measure(of_task[known > 0])

    def _kept(self, rows: int) -> Tensor:
        """[rows, fields]: 0 where a field is dropped, else what keeps its expectation."""
        kept = torch.rand(rows, len(self.field_names)) >= self.field_dropout
        return kept.to(torch.float32) / (1 - self.field_dropout)

    def _bagged(self, request_ids: Tensor, request_dense: Tensor, item_ids: Tensor, item_dense: Tensor) -> Features:
        most = len(item_ids) // SMALL
        sides = [(self.request, request_ids, request_dense), (self.item, item_ids, item_dense)]
        rows, weights, safe, owners, blocks, tables = [], [], [], list[int](), list[Block](), []
        field = start = 0
        for side, ids, dense in sides:
            lookup, safe_ids = side.lookup(ids, dense)
            rows.append(lookup.rows + start)
            weights.append(lookup.weights)
            safe.append(safe_ids)
            owners += [owner + field for owner in lookup.fields]
            blocks += [Block(b.start + start, b.stop + start, b.field + field) for b in side.blocks(most)]
            tables.append(side.rows_table())
            start, field = start + len(tables[-1]), field + len(side.names)
        shares = torch.cat(weights, dim=1)
        if self.field_dropout:
            shares = shares * self._kept(len(shares))[:, owners]
        joined = Lookup(torch.cat(rows, dim=1), shares, owners)
        return BaggedFeatures(torch.cat(tables), joined, blocks, field, torch.cat(safe, dim=1))


def _refuse_strangers(schema: Schema, settings: ModelSettings) -> None:
    """ConfigError for a head that belongs to no task of its kind."""
    kinds: Sequence[tuple[str, str, dict[str, object]]] = (
        ("regression", "continuous", dict(settings.regression)),
        ("positive_weight", "binary", dict(settings.positive_weight)),
    )
    for key, kind, named in kinds:
        known = [task.name for task in schema.tasks if task.kind == kind]
        for name in named:
            if name not in known:
                raise ConfigError(
                    f"model.{key}: '{name}' is not one of the {kind} tasks ({', '.join(known) or 'none'})"
                )
