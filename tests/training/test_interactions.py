"""Interactions against their equations in numpy."""

from itertools import combinations
from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.interactions import PRIME, CrossLayer, FieldNorm, GatedCross, MaskBlock, MaskNet, MemoNet, PairHash

Floats = NDArray[np.float32]


def numbers(tensor: Tensor) -> Floats:
    """A tensor as numpy."""
    result: Floats = tensor.detach().numpy()
    return result


def linear(layer: nn.Module, x: Floats) -> Floats:
    """A linear layer, with or without bias, or a chain of them."""
    for part in layer.modules():
        if isinstance(part, nn.Linear):
            x = x @ numbers(part.weight).T
            x = x + numbers(part.bias) if "bias" in dict(part.named_parameters()) else x
    return x


def layer_norm(x: Floats) -> Floats:
    """Over the last axis, without gain and shift."""
    result: Floats = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return result


def shake(module: nn.Module) -> None:
    """Random gains and shifts, so that a forgotten one shows."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)


def test_cross_layer_by_hand() -> None:
    layer = CrossLayer(1, rank=None)
    assert isinstance(layer.cross, nn.Linear)
    assert isinstance(layer.gate, nn.Linear)
    with torch.no_grad():
        layer.cross.weight.fill_(2.0)
        layer.cross.bias.fill_(1.0)
        layer.gate.weight.fill_(np.log(3.0))
    crossed = layer(torch.tensor([[5.0]]), torch.tensor([[1.0]]))
    assert crossed.item() == pytest.approx(5 * (2 * 1 + 1) * 0.75 + 1)  # sigmoid(log 3) = 3/4


@pytest.mark.parametrize("rank", [None, 2])
def test_gated_cross(rank: int | None) -> None:
    net, vectors = GatedCross(fields=3, embedding=2, layers=2, rank=rank, width=4), torch.randn(5, 3, 2)
    start = current = numbers(vectors).reshape(5, 6)
    for layer in net.layers:
        assert isinstance(layer, CrossLayer)
        gate = 1 / (1 + np.exp(-linear(layer.gate, current)))
        current = (start * linear(layer.cross, current) * gate + current).astype(np.float32)
    np.testing.assert_allclose(numbers(net(vectors)), linear(net.head, current), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["parallel", "serial"])
@pytest.mark.parametrize("normalise", [True, False])
def test_masknet(form: Literal["parallel", "serial"], normalise: bool) -> None:
    net, vectors = MaskNet(3, 2, form, 2, 5, 0.5, normalise, width=4), torch.randn(7, 3, 2)
    shake(net)
    embedding = numbers(vectors).reshape(7, 6)
    x = normed = embedding
    if isinstance(net.norm, FieldNorm):
        normed = layer_norm(numbers(vectors)) * numbers(net.norm.gain) + numbers(net.norm.shift)
        x = normed = normed.reshape(7, 6)
    assert isinstance(net.norm, FieldNorm) == normalise
    outputs = []
    for block in net.blocks:
        x = mask_block(block, embedding, normed if form == "parallel" else x)
        outputs.append(x)
    head = net.head[0]
    expected = np.maximum(linear(head, np.hstack(outputs)), 0) if form == "parallel" else linear(head, x)
    np.testing.assert_allclose(numbers(net(vectors)), expected, rtol=1e-4, atol=1e-4)


def mask_block(block: object, embedding: Floats, x: Floats) -> Floats:
    """relu(LN(W (x * mask)))."""
    assert isinstance(block, MaskBlock)
    mask = linear(block.mask[2], np.maximum(linear(block.mask[0], embedding), 0))
    normed = layer_norm(linear(block.linear, x * mask)) * numbers(block.norm.weight) + numbers(block.norm.bias)
    result: Floats = np.maximum(normed, 0)
    return result


def test_addresses_follow_the_formula_in_exact_integers() -> None:
    slots, ids = 97, [[0, 3, 2**31 - 2, 8], [5, 2**31 - 2, 1, 8]]
    hashing = PairHash([0, 2, 3], hashes=2, slots=slots)
    a, b, c = hashing.coefficients.tolist()
    for row, address in zip(ids, hashing(torch.tensor(ids)).tolist(), strict=True):
        chosen = [row[0], row[2], row[3]]
        for pair, (i, j) in enumerate(combinations(range(3), 2)):
            for t in range(2):
                sides = ((0, i, chosen[i]), (1, j, chosen[j]))
                total = sum(
                    ((a[s][t][f] * x + b[s][t][f]) % PRIME * x + c[s][t][f]) % PRIME % slots for s, f, x in sides
                )
                assert address[pair][t] == total % slots


def test_addresses_fill_the_code_book_evenly() -> None:
    slots = 1000
    grid = torch.cartesian_prod(torch.arange(200), torch.arange(500))  # 100,000 pairs of ids
    for column in PairHash([0, 1], hashes=2, slots=slots)(grid)[:, 0].T:
        counts = torch.bincount(column, minlength=slots).double()
        assert counts.min() > 0
        assert counts.std() < 3 * counts.mean() ** 0.5


def test_the_same_ids_in_other_fields_have_other_addresses() -> None:
    addresses = PairHash([0, 1, 2], hashes=1, slots=100_000)(torch.tensor([[7, 7, 7], [7, 8, 7]]))
    assert len(set(addresses[0, :, 0].tolist())) == 3
    assert addresses[0, 1] == addresses[1, 1]  # pair (0, 2) does not see field 1
    assert addresses[0, 0] != addresses[1, 0]


@pytest.mark.parametrize("shrink", [False, True])
def test_memonet(shrink: bool) -> None:
    rows, fields, d, k, chosen = 4, 4, 3, 2, [3, 0, 2]
    net = MemoNet(fields, d, chosen, hashes=2, slots=11, code_width=k, shrink=shrink, width=5)
    shake(net)
    vectors, addresses = torch.randn(rows, fields, d), torch.randint(0, 11, (rows, 3, 2))
    codes, restore = numbers(net.codes.weight), numbers(net.restore.weight)
    words = codes[addresses.numpy()].reshape(rows, 3, 2 * k)  # code words of one pair end to end
    memory = words @ restore.T
    if net.shrink is not None:
        memory = shrunk(net.shrink, numbers(vectors)[:, chosen].reshape(rows, -1), memory)
    joined = np.hstack([numbers(vectors).reshape(rows, -1), memory.reshape(rows, -1)])
    np.testing.assert_allclose(numbers(net(vectors, addresses)), linear(net.head, joined), rtol=1e-5, atol=1e-5)


def shrunk(shrink: nn.Module, embeddings: Floats, memory: Floats) -> Floats:
    """V_i = sum over the pairs of field i of R_ij v_ij."""
    attention = shrink.attention
    assert isinstance(attention, nn.Sequential)
    weights = linear(attention[2], np.maximum(linear(attention[0], embeddings), 0))  # [N, pairs]
    fields = np.zeros((len(memory), 3, memory.shape[2]), np.float32)
    for pair, (i, j) in enumerate(combinations(range(3), 2)):
        for field in (i, j):
            fields[:, field] += weights[:, pair, None] * memory[:, pair]
    return fields
