"""Weighted lists: their weighted sum, wherever it is computed; and the numbers beside their weights."""

import torch
from torch import Tensor

from contract.schema import Field, Kind, Side
from tests.export.runs import SMALLER
from tests.training import tiny
from training.config import read_recipe
from training.models import build_model
from training.models.embedding import HEAVIEST, SideEmbedding

FIELDS = (
    Field(name="before", side=Side.USER, kind=Kind.NUMERIC, mean=2.0),
    Field(name="list", side=Side.USER, kind=Kind.MULTI, max_length=3, weights="w", size=5),
    Field(name="after", side=Side.USER, kind=Kind.NUMERIC, mean=5.0),
    Field(name="a", side=Side.USER, size=3),
)
IDS = torch.tensor([[1, 4, 2, 1], [0, 0, 0, 2], [3, 9, 0, 0], [1, 1, 0, 1]], dtype=torch.int32)  # list, a
DENSE = torch.tensor(
    [[1.0, 0.5, 2.0, -1.0, 8.0], [1.0, 9.0, 9.0, 9.0, 8.0], [1.0, 0.0, 9.0, 9.0, 8.0], [1.0, 1.0, 1e30, 0.0, 8.0]]
)


def embedding() -> SideEmbedding:
    torch.manual_seed(3)
    return SideEmbedding(FIELDS, width=2, std=1.0).eval()


def looked_up(side: SideEmbedding, ids: Tensor, dense: Tensor) -> Tensor:
    """Vectors [rows, fields, width] of the weighted rows that `lookup` names."""
    lookup, _ = side.lookup(ids, dense)
    rows = side.rows_table()[lookup.rows] * lookup.weights[:, :, None]
    return torch.zeros(len(ids), len(side.names), 2).index_add(1, torch.tensor(lookup.fields), rows)


def test_a_weighted_list_is_the_sum_of_its_known_ids() -> None:
    side = embedding()
    with torch.no_grad():
        vectors, _ = side(IDS, DENSE)
    row = side.table.weight.detach()[:5]
    expected = [
        0.5 * row[1] + 2 * row[4] - row[2],
        row[0],  # none is known: the missing row, whatever the weights
        0 * row[3],  # 9 lies outside the table
        (1 + HEAVIEST) * row[1],
    ]
    torch.testing.assert_close(vectors[:, side.names.index("list")], torch.stack(expected))


def test_numbers_are_read_beside_the_weights() -> None:
    side = embedding()
    with torch.no_grad():
        vectors, _ = side(IDS, DENSE)
        numbers = side.numbers(torch.tensor([[1.0, 8.0]]))
    torch.testing.assert_close(vectors[:, -2:], numbers.expand(4, 2, 2))


def test_looked_up_and_alone_they_are_the_same() -> None:
    side = embedding()
    with torch.no_grad():
        vectors, _ = side(IDS, DENSE)
        torch.testing.assert_close(looked_up(side, IDS, DENSE), vectors)
        alone, _ = side.only(FIELDS[1:3])(IDS[:, :3], DENSE[:, 1:])
    chosen = [side.names.index(name) for name in ("list", "after")]
    torch.testing.assert_close(alone, vectors[:, chosen])


def test_knots_are_measured_on_numbers_alone() -> None:
    side, dense = embedding(), torch.full((100, 5), 1e6)
    dense[:, 0] = dense[:, 4] = torch.linspace(2, 7, 100)
    side.measure(dense)
    torch.testing.assert_close(
        side.numbers.knots[:, [0, -1]], torch.tensor([[0.0, 5.0], [-3.0, 2.0]]), atol=0.01, rtol=0
    )


def test_training_and_scoring_see_one_function() -> None:
    """In training rows are looked up as products, in scoring they are gathered."""
    schema, still = tiny.schema(tiny.RICH), ["model.dropout=0", "model.field_dropout=0"]
    model = build_model("ple", schema, read_recipe("ple", None, [*SMALLER["ple"], *still]).model)
    request_ids, request_dense, item_ids, item_dense, _ = tiny.inputs(schema, items=300, requests=300)
    inputs = (request_ids, request_dense, item_ids, item_dense)
    with torch.no_grad():
        scored = model.eval().raw(*inputs)
        trained = model.train().raw(*inputs)
    torch.testing.assert_close(trained, scored, atol=1e-5, rtol=1e-5)


def test_what_was_measured_counts_not_what_the_transform_is_called() -> None:
    """Older schemas say 'none' where they mean 'standard'; a number that is left as it is has mean 0 and scale 1."""
    old, new, plain = (
        Field(name=name, side=Side.USER, kind=Kind.NUMERIC, transform=transform, mean=mean, scale=scale)
        for name, transform, mean, scale in (
            ("o", "none", 3.0, 2.0),
            ("n", "standard", 3.0, 2.0),
            ("p", "none", 0.0, 1.0),
        )
    )
    numbers = SideEmbedding((old, new, plain), width=2, std=1.0).numbers
    torch.testing.assert_close(numbers.standard(torch.full((1, 3), 7.0)), torch.tensor([[2.0, 2.0, 7.0]]))
