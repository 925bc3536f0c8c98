"""MemoNet's addresses, code books and memory against their formulas."""

from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from tests.training.test_interactions import Floats, linear, numbers, shake
from training.models.memonet import PRIME, CodeBooks, MemoNet, PairHash
from training.models.parts import whole


def test_addresses_follow_the_formula_in_exact_integers() -> None:
    slots, ids = 97, [[0, 3, 2**31 - 2, 8], [5, 2**31 - 2, 1, 8]]
    hashing = PairHash([0, 2, 3], hashes=2, slots=slots)
    a, b, c = hashing.coefficients.tolist()
    for row, address in zip(ids, hashing(whole(torch.tensor(ids))).joined.tolist(), strict=True):
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
    for column in PairHash([0, 1], hashes=2, slots=slots)(whole(grid)).joined[:, 0].T:
        counts = torch.bincount(column, minlength=slots).double()
        assert counts.min() > 0
        assert counts.std() < 3 * counts.mean() ** 0.5


def test_the_same_ids_in_other_fields_have_other_addresses() -> None:
    addresses = PairHash([0, 1, 2], hashes=1, slots=100_000)(whole(torch.tensor([[7, 7, 7], [7, 8, 7]]))).joined
    assert len(set(addresses[0, :, 0].tolist())) == 3
    assert addresses[0, 1] == addresses[1, 1]  # pair (0, 2) does not see field 1
    assert addresses[0, 0] != addresses[1, 0]


@pytest.mark.parametrize("shrink", [False, True])
def test_memonet(shrink: bool) -> None:
    rows, fields, d, k, chosen = 4, 4, 3, 2, [3, 0, 2]
    net = MemoNet(fields, d, chosen, hashes=2, code_width=k, shrink=shrink, width=5)
    shake(net)
    vectors, words = torch.randn(rows, fields, d), torch.randn(rows, 3, 2 * k)
    memory = numbers(words) @ numbers(net.restore.weight).T
    if net.shrink is not None:
        memory = shrunk(net.shrink, numbers(vectors)[:, chosen].reshape(rows, -1), memory)
    joined = np.hstack([numbers(vectors).reshape(rows, -1), memory.reshape(rows, -1)])
    x, memories = joined[:, : fields * d], joined[:, fields * d :]
    expected = linear(net.head, x) + linear(net.memory_head, memories)
    np.testing.assert_allclose(numbers(net(whole(vectors), whole(words))), expected, rtol=1e-5, atol=1e-5)


def test_each_book_holds_the_code_words_of_both_hashes_end_to_end() -> None:
    books, ids = CodeBooks([0, 1, 2], hashes=2, slots=11, width=3, books=2), torch.randint(0, 9, (5, 3))
    table, addresses = numbers(books.table.weight), books.hash(whole(ids)).joined.numpy()
    for book, words in enumerate(books(whole(ids))):
        own = table[:, 3 * book : 3 * book + 3]
        expected = np.concatenate([own[addresses[:, :, 0]], own[addresses[:, :, 1]]], axis=2)  # [N, pairs, 6]
        np.testing.assert_array_equal(numbers(words.joined), expected)


def shrunk(shrink: nn.Module, embeddings: Floats, memory: Floats) -> Floats:
    """V_i = sum over the pairs of field i of R_ij v_ij."""
    attention, entry = shrink.attention, shrink.entry
    assert isinstance(attention, nn.Linear)
    assert isinstance(entry, nn.Linear)
    weights = linear(attention, np.maximum(linear(entry, embeddings), 0))  # [N, pairs]
    fields = np.zeros((len(memory), 3, memory.shape[2]), np.float32)
    for pair, (i, j) in enumerate(combinations(range(3), 2)):
        for field in (i, j):
            fields[:, field] += weights[:, pair, None] * memory[:, pair]
    return fields
