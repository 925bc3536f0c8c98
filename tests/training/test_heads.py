"""Heads against numpy and scipy: losses, served values, scales."""

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import expit

from contract.errors import ConfigError, DataError
from contract.schema import Task
from tests.training import tiny
from training.models import MODELS, build_model
from training.models.heads import BinaryHead, MeanHead, ZilnHead, build_head

CLICK, PAID = Task(name="click", label="c"), Task(name="paid", kind="continuous", label="p")


def test_a_task_gets_the_head_of_its_kind() -> None:
    assert isinstance(build_head(CLICK, "mse", 1.0, "none"), BinaryHead)
    assert isinstance(build_head(PAID, "mse", 1.0, "none"), MeanHead)
    assert isinstance(build_head(PAID, "ziln", 1.0, "none"), ZilnHead)


def test_positives_weigh_in_the_loss_and_not_in_the_logit() -> None:
    head = BinaryHead(4.0, "none")
    raw, labels = torch.tensor([[-1.0], [0.5], [2.0]]), torch.tensor([1.0, 0.0, 1.0])
    p = expit([-1.0, 0.5, 2.0])
    expected = [-4 * np.log(p[0]), -np.log(1 - p[1]), -4 * np.log(p[2])]
    np.testing.assert_allclose(head.loss(raw, labels).numpy(), expected, rtol=1e-6)
    odds = p / (1 - p) / 4
    np.testing.assert_allclose(head.value(raw).numpy(), odds / (1 + odds), rtol=1e-6)


@pytest.mark.parametrize("weight", [0.25, 20.0])
def test_what_a_weight_on_positives_distorts_is_put_right(weight: float) -> None:
    """A model of two ids, trained on 8 % positives among them."""
    schema = tiny.schema(tasks=[CLICK])
    torch.manual_seed(0)
    settings = MODELS["ple"].settings(positive_weight={"click": weight}, embedding=4, tower=(8,))
    model = build_model("ple", schema, settings)
    inputs = tiny.inputs(schema, items=200, requests=200)[:4]
    for part in inputs:
        part.copy_(part[:1].expand_as(part))
    inputs[2][:, 0] = torch.arange(200) % 2
    labels = torch.zeros(200, 1)
    labels[:24:2], labels[1:8:2] = 1, 1  # 12 of 100 with id 0, 4 of 100 with id 1
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(150):
        optimiser.zero_grad()
        sums, counts = model.losses(model.raw(*inputs), labels, torch.ones(200, 1))
        model.backward(sums / counts)
        optimiser.step()
    model.eval()
    p = model.each_head[0].value(model.raw(*inputs)).detach()
    assert (p.sum() / labels.sum()).item() == pytest.approx(1, abs=0.03)
    assert [p[0].item(), p[1].item()] == pytest.approx([0.12, 0.04], rel=0.1)
    raw = model.raw(*inputs)[:, 0].sigmoid()  # what it learnt of a world with more positives, or fewer
    assert raw[0].item() == pytest.approx(0.12 * weight / (0.12 * weight + 0.88), rel=0.1)


def test_a_mean_is_learnt_in_units_of_the_labels_deviation() -> None:
    head, labels = MeanHead(), torch.tensor([900.0, 1100.0, 1300.0, 700.0])
    head.measure(labels)
    scale = float(np.std(labels.numpy()))
    raw = torch.tensor([[0.0], [-1.0], [2.0], [0.5]])
    np.testing.assert_allclose(head.value(raw).numpy(), 1000 + scale * raw[:, 0].numpy(), rtol=1e-6)
    expected = ((1000 + scale * raw[:, 0].numpy() - labels.numpy()) / scale) ** 2
    np.testing.assert_allclose(head.loss(raw, labels).numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("labels", [[], [3.0], [5.0, 5.0]])
def test_labels_without_spread_leave_a_scale_to_work_with(labels: list[float]) -> None:
    for head in (MeanHead(), ZilnHead("paid")):
        head.measure(torch.tensor(labels))
        raw = torch.zeros(1, head.width)
        assert torch.isfinite(head.value(raw)).all()
        assert torch.isfinite(head.loss(raw, torch.tensor([5.0]))).all()


def ziln() -> tuple[ZilnHead, torch.Tensor, torch.Tensor]:
    """A measured head, raw outputs and labels, half of them zero."""
    draw = np.random.default_rng(0)
    labels = torch.from_numpy(np.where(draw.random(40) < 0.5, 0, draw.lognormal(4, 1.5, 40))).float()
    head = ZilnHead("paid")
    head.measure(labels)
    return head, torch.from_numpy(draw.normal(size=(40, 3))).float(), labels


def test_ziln_is_the_likelihood_of_a_zero_or_a_lognormal() -> None:
    head, raw, labels = ziln()
    z, y = raw.double().numpy(), labels.double().numpy()
    logs = np.log(y[y > 0])
    mu, sigma = z[:, 1] * logs.std() + logs.mean(), np.log1p(np.exp(z[:, 2])) * logs.std()
    amount = stats.lognorm(s=sigma, scale=np.exp(mu))
    p = expit(z[:, 0])
    with np.errstate(divide="ignore"):  # the density of an amount of 0
        expected = np.where(y > 0, -np.log(p) - amount.logpdf(y), -np.log(1 - p))
    np.testing.assert_allclose(head.loss(raw, labels).numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(head.value(raw).numpy(), p * amount.mean(), rtol=1e-4)


def test_ziln_finds_the_distribution_it_was_drawn_from() -> None:
    draw = np.random.default_rng(1)
    labels = torch.from_numpy(np.where(draw.random(20_000) < 0.7, 0, draw.lognormal(2.0, 0.8, 20_000))).float()
    head = ZilnHead("paid")
    head.measure(labels)
    raw = torch.zeros(1, 3, requires_grad=True)
    optimiser = torch.optim.LBFGS([raw], max_iter=50)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = head.loss(raw.expand(len(labels), 3), labels).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    assert head.value(raw).item() == pytest.approx(0.3 * np.exp(2.0 + 0.8**2 / 2), rel=0.03)


@pytest.mark.parametrize("extreme", [-200.0, 200.0])
def test_ziln_stays_finite(extreme: float) -> None:
    head, _, labels = ziln()
    raw = torch.full((40, 3), extreme, requires_grad=True)
    head.loss(raw, labels).sum().backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    assert torch.isfinite(raw.grad).all()
    assert torch.isfinite(head.value(raw)).all()


def test_amounts_below_zero_are_no_revenue() -> None:
    with pytest.raises(DataError, match=r"task 'paid': the smallest label is -3.*model\.regression\.paid=mse"):
        ZilnHead("paid").measure(torch.tensor([1.0, -3.0]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"regression": {"click": "ziln"}}, r"regression: 'click' is not one of the continuous tasks \(paid\)"),
        ({"positive_weight": {"paid": 2.0}}, r"positive_weight: 'paid' is not one of the binary tasks \(click\)"),
    ],
)
def test_a_head_of_another_kind_of_task_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model("ple", tiny.schema(tasks=[CLICK, PAID]), MODELS["ple"].settings.model_validate(settings))


def test_served_values_are_the_heads() -> None:
    schema = tiny.schema(tasks=[CLICK, PAID])
    torch.manual_seed(0)
    model = build_model(
        "ple", schema, MODELS["ple"].settings(regression={"paid": "ziln"}, positive_weight={"click": 3})
    )
    inputs = tiny.inputs(schema, items=5, requests=2)
    model.measure(inputs[1], inputs[3], torch.tensor([[0.0, 0.0], [1.0, 50.0], [1.0, 90.0]]), torch.ones(3, 2))
    model.eval()
    click, paid = model(*inputs)
    raw = model.raw(*inputs).detach()
    torch.testing.assert_close(click, (raw[:, 0] - np.log(3)).sigmoid())
    assert raw.shape == (5, 4)
    torch.testing.assert_close(paid, model.each_head[1].value(raw[:, 1:]))
