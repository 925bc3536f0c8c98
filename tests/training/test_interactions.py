"""Interactions against their equations in numpy."""

from typing import Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from training.models.interactions import CrossLayer, FieldNorm, GatedCross, MaskBlock, MaskNet
from training.models.parts import whole

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
    np.testing.assert_allclose(numbers(net(whole(vectors))), linear(net.head, current), rtol=1e-5, atol=1e-5)


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
    np.testing.assert_allclose(numbers(net(whole(vectors))), expected, rtol=1e-4, atol=1e-4)


def mask_block(block: object, embedding: Floats, x: Floats) -> Floats:
    """relu(LN(W (x * mask)))."""
    assert isinstance(block, MaskBlock)
    mask = linear(block.mask[2], np.maximum(linear(block.mask[0], embedding), 0))
    normed = layer_norm(linear(block.linear, x * mask)) * numbers(block.norm.weight) + numbers(block.norm.bias)
    result: Floats = np.maximum(normed, 0)
    return result
