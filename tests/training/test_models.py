"""What every model must do, whatever the schema."""

import math
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from contract.errors import ConfigError, SchemaError
from contract.schema import Field, Kind, Schema, Side, Task
from tests.training import tiny
from training.models import MODELS, Ranker, build_model
from training.models.embedding import SideEmbedding

TASKS = tuple(Task(name=f"t{k}", label=f"label {k}") for k in range(3))


def build(name: str, schema: Schema, **settings: object) -> Ranker:
    """A model with default settings but for these."""
    torch.manual_seed(0)
    return build_model(name, schema, MODELS[name].settings.model_validate(settings))


def sides(*sides: Side) -> tuple[Field, ...]:
    """The tiny schema's fields of these sides."""
    return tuple(field for field in tiny.FIELDS if field.side in sides)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("fields", "tasks"),
    [
        (tiny.FIELDS, TASKS[:1]),
        (tiny.FIELDS, TASKS),
        (sides(Side.USER, Side.CONTEXT), TASKS[:2]),
        (sides(Side.ITEM, Side.CROSS), TASKS[:2]),
    ],
)
def test_one_probability_a_candidate_and_task(name: str, fields: Sequence[Field], tasks: Sequence[Task]) -> None:
    schema = tiny.schema(fields, tasks)
    scores = build(name, schema).eval()(*tiny.inputs(schema, items=7, requests=2))
    assert [tuple(score.shape) for score in scores] == [(7,)] * len(tasks)
    assert all(((score > 0) & (score < 1)).all() for score in scores)


@pytest.mark.parametrize("name", MODELS)
def test_a_candidate_is_scored_with_its_own_request_alone(name: str) -> None:
    schema = tiny.schema()
    model = build(name, schema).eval()
    request_ids, request_dense, item_ids, item_dense, of_item = tiny.inputs(schema, items=7, requests=3)
    together = torch.stack(model(request_ids, request_dense, item_ids, item_dense, of_item))
    for n, r in enumerate(of_item.tolist()):
        one = slice(n, n + 1), slice(r, r + 1)
        alone = model(
            request_ids[one[1]], request_dense[one[1]], item_ids[one[0]], item_dense[one[0]], torch.tensor([0])
        )
        torch.testing.assert_close(torch.stack(alone)[:, 0], together[:, n])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("settings", [{}, {"dropout": 0.2}])
def test_gradient_reaches_every_parameter(name: str, settings: dict[str, object]) -> None:
    check_gradients(build(name, tiny.schema(tasks=TASKS), **settings))


def test_gradient_reaches_every_parameter_of_the_released_form() -> None:
    check_gradients(build("dtn", tiny.schema(tasks=TASKS), preset="released", masknet={"form": "serial"}))


@pytest.mark.parametrize("name", MODELS)
def test_gradient_reaches_every_parameter_of_a_chain_that_ends_in_a_number(name: str) -> None:
    spend = Task(name="spend", label="amount", kind="continuous", space="cvr")
    check_gradients(build(name, tiny.schema(tasks=(tiny.CLICK, tiny.BUY, spend))))


def check_gradients(model: Ranker) -> None:
    """Fails naming the parameters that the losses of all tasks do not move."""
    labels, counted = draw_labels(model, rows=256)
    sums, counts = model.losses(model.raw(*tiny.inputs(tiny.schema(), 256, 256)[:4]), labels, counted)
    model.backward(sums / counts)
    unmoved = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert unmoved == []


def draw_labels(model: Ranker, rows: int) -> tuple[Tensor, Tensor]:
    """Labels 0 or 1, and the rows that count: those in which the space's label is 1, known and positive itself."""
    labels, counted = torch.randint(0, 2, (rows, len(model.tasks))).float(), torch.ones(rows, len(model.tasks))
    for k, task in enumerate(model.schema_tasks):
        if task.space != "all":
            space = model.tasks.index(task.space)
            counted[:, k] = counted[:, space] * labels[:, space]
    return labels * counted, counted


@pytest.mark.parametrize("name", MODELS)
def test_overfits_64_rows(name: str) -> None:
    """Served are then the labels: of cvr, those of the clicks, whatever the model learns them from."""
    schema = tiny.schema()
    model = build(name, schema, **({"memonet": {"code_book": 500}} if name == "dtn" else {}))
    inputs, (labels, counted) = tiny.inputs(schema, items=64, requests=64), draw_labels(model, rows=64)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.004)
    for _ in range(100):
        optimiser.zero_grad()
        sums, counts = model.losses(model.raw(*inputs), labels, counted)
        model.backward(sums / counts)
        optimiser.step()
    served = torch.stack(model.eval()(*inputs), dim=1)
    assert ((served - labels).abs() * counted).max().item() < 0.1


@pytest.mark.parametrize("name", MODELS)
def test_ids_out_of_range_count_as_missing(name: str) -> None:
    schema = tiny.schema()
    model = build(name, schema).eval()
    request_ids, request_dense, item_ids, item_dense, of_item = tiny.inputs(schema, items=6, requests=6)
    strange = torch.tensor([-1, -(2**31), 21, 1000, 2**31 - 1, 5], dtype=torch.int32)
    known = torch.tensor([0, 0, 0, 0, 0, 5], dtype=torch.int32)
    scores = []
    for column in (strange, known):
        request_ids[:, 0] = column
        item_ids[:, 0] = torch.where(column == 5, column, column.clamp(min=-1))  # 11 ids: 21 is beyond them too
        scores.append(torch.stack(model(request_ids, request_dense, item_ids, item_dense, of_item)))
    assert torch.equal(scores[0], scores[1])


def test_a_schema_that_was_not_prepared_is_refused() -> None:
    with pytest.raises(SchemaError, match=r"'user'.*prepare"):
        build("ple", tiny.schema([Field(name="user", side=Side.USER)]))


def test_an_unknown_model_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"'plee' is unknown; choose one of single_task, .*, dtn"):
        build_model("plee", tiny.schema(), MODELS["ple"].settings())


def embed(
    fields: Sequence[Field], ids: Sequence[Sequence[int]], dense: Sequence[Sequence[float]]
) -> tuple[SideEmbedding, Tensor]:
    """An embedding of width 2, and the vectors that it gives."""
    embedding = SideEmbedding(tuple(fields), 2, std=1.0)
    vectors, _ = embedding(torch.tensor(ids, dtype=torch.int32), torch.tensor(dense))
    return embedding, vectors.detach()


def test_each_field_has_rows_of_its_own() -> None:
    fields = (Field(name="a", side=Side.USER, size=3), Field(name="b", side=Side.USER, size=4))
    embedding, vectors = embed(fields, [[2, 3], [0, 0]], [[], []])
    table = embedding.table.weight.detach()
    torch.testing.assert_close(vectors, torch.stack([table[[2, 6]], table[[0, 3]]]))


def test_lists_are_the_mean_of_the_ids_given() -> None:
    fields = (
        Field(name="a", side=Side.USER, size=3),
        Field(name="list", side=Side.USER, kind=Kind.MULTI, max_length=3, size=5),
        Field(name="b", side=Side.USER, size=2),
    )
    embedding, vectors = embed(fields, [[1, 4, 0, 2, 1], [1, 0, 0, 0, 1], [1, 9, 2, 0, 1]], [[]] * 3)
    a, listed, b = (embedding.table.weight.detach()[rows] for rows in (slice(0, 3), slice(3, 8), slice(8, 10)))
    assert embedding.names == ("a", "b", "list")
    torch.testing.assert_close(vectors[:, :2], torch.stack([a[1], b[1]]).expand(3, 2, 2))
    torch.testing.assert_close(vectors[:, 2], torch.stack([(listed[4] + listed[2]) / 2, listed[0], listed[2]]))


def test_numbers_are_scaled_and_placed_along_a_direction() -> None:
    fields = (
        Field(name="plain", side=Side.ITEM, kind=Kind.NUMERIC, mean=3.0, scale=2.0),
        Field(name="log", side=Side.ITEM, kind=Kind.NUMERIC, transform="log1p", mean=1.0, scale=0.5),
    )
    embedding, vectors = embed(fields, [[], []], [[7.0, -1.5], [3.0, 1e38]])
    z = torch.tensor([[2.0, (-math.log(2.5) - 1) / 0.5], [0.0, 20.0]])  # (log1p(1e38) - 1) / .5 = 173 is cut to 20
    numbers = embedding.numbers
    with torch.no_grad():
        numbers.levels[:] = numbers.levels[:, :1]  # one level: a line
        vectors = numbers(torch.tensor([[7.0, -1.5], [3.0, 1e38]]))
    torch.testing.assert_close(vectors, z[:, :, None] * numbers.direction.detach() + numbers.levels[:, 0].detach())


def test_knots_follow_the_distinct_values_and_bend_the_line() -> None:
    field = Field(name="x", side=Side.ITEM, kind=Kind.NUMERIC)
    numbers = SideEmbedding((field,), 2, std=1.0).numbers
    values = torch.tensor([0.0] * 900 + [float(i) for i in range(1, 9)]).unsqueeze(1)  # mostly 0
    numbers.measure(values)
    torch.testing.assert_close(numbers.knots[0, [0, 32, 64]], torch.tensor([0.0, 4.0, 8.0]), atol=0.01, rtol=0)
    with torch.no_grad():  # level 0 up to the knot at 4, then 1 more a knot, an eighth of a unit on
        numbers.levels[0] = (torch.arange(65) - 32).clamp(min=0)[:, None].float()
    line = torch.tensor([2.0, 6.0])[:, None] * numbers.direction
    bent = numbers(torch.tensor([[2.0], [6.0]]))[:, 0] - line
    torch.testing.assert_close(bent, torch.tensor([[0.0, 0.0], [16.0, 16.0]]), atol=0.1, rtol=0)


def test_a_constant_number_leaves_the_knots_alone() -> None:
    numbers = SideEmbedding((Field(name="x", side=Side.ITEM, kind=Kind.NUMERIC),), 2, std=1.0).numbers
    before = numbers.knots.clone()
    numbers.measure(torch.full((9, 1), 3.0))
    assert torch.equal(numbers.knots, before)
