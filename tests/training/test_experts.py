"""Experts and gates against sums written out in numpy."""

import math

import numpy as np
import torch

from training.models.experts import Experts, Gate, OutputGate, StackedLinear, mix


def test_softmax_runs_over_the_experts() -> None:
    scores = torch.tensor([[0.0, math.log(3.0)]])  # weights 1/4 and 3/4
    outputs = torch.tensor([[[4.0, 8.0], [0.0, 4.0]]])  # [1, experts 2, width 2]
    torch.testing.assert_close(mix(scores, outputs), torch.tensor([[1.0, 5.0]]))


def test_weights_of_the_experts_sum_to_one_in_every_row() -> None:
    gate = Gate(5, 3)
    torch.testing.assert_close(gate(torch.randn(7, 5), torch.ones(7, 3, 2)), torch.ones(7, 2))


def test_gate_reads_its_selector() -> None:
    gate, selector, outputs = Gate(5, 3), torch.randn(7, 5), torch.randn(7, 3, 2)
    weight, bias = gate.scores.weight.detach().numpy(), gate.scores.bias.detach().numpy()
    exponentials = np.exp(selector.numpy() @ weight.T + bias)
    expected = np.einsum("ne,new->nw", exponentials / exponentials.sum(1, keepdims=True), outputs.numpy())
    np.testing.assert_allclose(gate(selector, outputs).detach().numpy(), expected, atol=1e-6)


def test_output_gate_scores_each_output_by_itself() -> None:
    gate, outputs = OutputGate(4, 3), torch.randn(6, 3, 4)
    weight, bias = gate.weight.detach().numpy(), gate.bias.detach().numpy()
    scores = np.maximum(np.stack([outputs[:, m].numpy() @ weight[m] + bias[m] for m in range(3)], axis=1), 0)
    shares = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    expected = sum(shares[:, m, None] * outputs[:, m].numpy() for m in range(3))
    np.testing.assert_allclose(gate(outputs).detach().numpy(), expected, atol=1e-6)


def test_stacked_experts_are_separate_networks() -> None:
    experts, x = Experts(4, 3, (5, 2), dropout=0.0), torch.randn(6, 4)
    first = experts.first.weight.detach().numpy().reshape(3, 5, 4), experts.first.bias.detach().numpy().reshape(3, 5)
    second = experts.deeper[0]
    assert isinstance(second, StackedLinear)
    for e in range(3):
        hidden = np.maximum(x.numpy() @ first[0][e].T + first[1][e], 0)
        expected = np.maximum(hidden @ second.weight[e].detach().numpy() + second.bias[e].detach().numpy(), 0)
        np.testing.assert_allclose(experts(x)[:, e].detach().numpy(), expected, atol=1e-6)
