"""AITM: information transfer, calibrator and the conditional probability served, against numpy."""

import numpy as np
import torch

from contract.schema import Task
from tests.training import reference
from training.losses import GAP
from training.models.aitm import AITM, Transfer

CHAIN = (
    Task(name="ctr", label="c"),
    Task(name="fav", label="f"),
    Task(name="cvr", label="b", space="ctr"),
    Task(name="spend", label="s", kind="continuous", space="cvr"),
)


def build(**settings: object) -> AITM:
    model = reference.build("aitm", CHAIN, tower=(5, 4), **settings)
    assert isinstance(model, AITM)
    return model


def transferred(module: object, own: reference.Floats, before: reference.Floats) -> reference.Floats:
    """AIT row by row: attention over two tokens."""
    assert isinstance(module, Transfer)
    information = np.maximum(reference.linear(module.information, before), 0)
    w1, w2, w3 = np.split(reference.numbers(module.projections.weight), 3)
    rows = []
    for tokens in zip(own, information, strict=True):
        scores = np.array([(w1 @ u) @ (w2 @ u) / np.sqrt(len(u)) for u in tokens])
        rows.append(sum(a * (w3 @ u) for a, u in zip(reference.softmax(scores), tokens, strict=True)))
    return np.stack(rows)


def test_information_passes_from_the_space_or_else_from_the_task_before() -> None:
    model = build()
    vectors = reference.sample(model)
    q = reference.experts(model.towers, reference.numbers(vectors).reshape(reference.ROWS, -1))
    z = [q[0]]
    for k, source in ((1, 0), (2, 0), (3, 2)):  # cvr reads ctr, in whose space it is, not fav
        z.append(transferred(model.transfers[k - 1], q[k], z[source]))
    expected = np.hstack([reference.linear(out, x) for out, x in zip(model.outputs, z, strict=True)])
    np.testing.assert_allclose(reference.scored(model, vectors), expected, atol=1e-5)


def test_losses_are_of_joint_probabilities_with_the_calibrator() -> None:
    raw = torch.tensor([[0.5, 1.0, 1.5, 2], [1.0, 0, -1, 2], [-1.0, 0.3, -0.5, 1]])
    labels = torch.tensor([[1.0, 1, 1, 4], [1, 0, 0, 0], [0, 0, 0, 0]])
    counted = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]])
    sums, counts = build(calibrator=0.3).losses(raw, labels, counted)
    y = reference.sigmoid(reference.numbers(raw)[:, :3])
    joint = labels.numpy()[:, :3]  # over all impressions: a row without a click is one without a conversion
    entropy = -np.where(joint == 1, np.log(y), np.log(1 - y)).sum(0)
    excess = [y[0, 2] - y[0, 0], 0, y[2, 2] - y[2, 0]]  # rows in which buying is the likelier
    expected = [entropy[0], entropy[1], entropy[2] + 0.3 * sum(excess), (2 - 4) ** 2]
    np.testing.assert_allclose(sums.numpy(), expected, rtol=1e-5)
    assert counts.tolist() == [3, 3, 3, 1]


def test_click_times_conversion_is_the_joint_probability() -> None:
    model = build(positive_weight={"ctr": 3.0, "cvr": 7.0}, calibration="none")
    raw = torch.tensor([[0.5, 1.0, -1.5, 2], [1.0, 0, -12, 2], [-9.0, 0.3, -10.5, 1]])
    ctr, _, cvr, _ = (head.value(part) for head, part in zip(model.each_head, model.parts(raw), strict=True))
    joint = reference.sigmoid(reference.numbers(raw)[:, 2] - np.float32(np.log(7)))
    np.testing.assert_allclose((ctr * cvr).numpy(), joint, rtol=1e-4)


def test_a_conversion_likelier_than_the_click_is_served_below_one() -> None:
    model = build(calibration="none")
    cvr = model.each_head[2].value(model.parts(torch.tensor([[-2.0, 0, 1, 0], [0.5, 0, 0.6, 0]]))[2])
    click = torch.tensor([-2.0, 0.5])
    torch.testing.assert_close(cvr, (click - GAP).sigmoid() / click.sigmoid())  # .982 and .992
