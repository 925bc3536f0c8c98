"""The ranking formula: exact, and finite whatever the scores are."""

from typing import Any

import numpy as np
import pytest

from service.scoring.ranking import rank
from service.settings import Settings
from tests.service.conftest import EXPERIMENTS, running

F = np.float32


def column(*values: float) -> Any:
    return np.array(values, F)


def test_the_column_is_the_product_of_the_powers() -> None:
    scores = {"ctr": column(0.5, 0.25, 0.1), "cvr": column(0.04, 0.25, 1), "value": column(3, 0, 7)}
    exact = [0.5 * float(F(0.04)) ** 0.5, 0.125, float(F(0.1))]
    got = rank(scores, {"ctr": 1.0, "cvr": 0.5})
    assert got.dtype == F
    assert got.tolist() == [float(F(value)) for value in exact]
    assert rank(scores, {"value": 2.0}).tolist() == [9, 0, 49]
    assert rank(scores, {"value": 0.0}).tolist() == [1, 1, 1]


def test_zeros_negatives_and_overflow_stay_finite_and_in_order() -> None:
    scores = {"ctr": column(0, 1e-20, 0.5), "value": column(-4, 2, 3e38)}
    assert rank(scores, {"ctr": 0.5})[0] == 0
    inverse = rank(scores, {"ctr": -1.0})
    assert np.isfinite(inverse).all()
    assert inverse[0] > inverse[1] > inverse[2] == 2
    for exponents in ({"ctr": -40.0}, {"value": 9.0}, {"value": 9.0, "ctr": -9.0}, {"ctr": -9.0, "value": 0.5}):
        assert np.isfinite(rank(scores, exponents)).all()
    assert rank(scores, {"value": 0.5})[0] == 0  # less than 0 counts as 0
    assert rank(scores, {"value": 9.0, "ctr": -9.0})[0] == 0  # and 0 times whatever is 0
    assert np.isnan(rank({"ctr": column(float("nan"))}, {"ctr": 1.0})).all()


def test_the_reply_has_the_column_and_the_parameters_of_the_arm(settings: Settings) -> None:
    settings.experiments.write_text(
        EXPERIMENTS.replace(
            "model: dtn,", "model: dtn, ranking: {ctr: 1.0, cvr: 0.5}, parameters: {depth: 3, tone: bold},"
        )
    )
    with running(settings) as client:
        reply = client.score({"user": {"id": "u1"}, "item_ids": ["i1", "i2"], "arm": "dtn"})[1]
        ctr, cvr = (np.array(reply["scores"][task], F).astype(float) for task in ("ctr", "cvr"))
        assert reply["scores"]["rank"] == pytest.approx((ctr * cvr**0.5).astype(F).tolist(), rel=1e-6)
        assert reply["parameters"] == {"depth": 3, "tone": "bold"}
        plain = client.score({"user": {"id": "u1"}, "item_ids": ["i1"], "arm": "ple"})[1]
        assert "rank" not in plain["scores"]
        assert plain["parameters"] == {}


def test_a_column_in_every_form(settings: Settings) -> None:
    import ormsgpack
    import pyarrow as pa

    settings.experiments.write_text(EXPERIMENTS.replace("model: dtn,", "model: dtn, ranking: {ctr: 2.0},"))
    with running(settings) as client:
        body = b'{"item_ids": ["i1", "i2"], "arm": "dtn"}'

        def ask(accept: str) -> bytes:
            response = client.run(client.http.post("/score", content=body, headers={"Accept": accept}))
            content: bytes = response.content
            return content

        packed = ormsgpack.unpackb(ask("application/msgpack"))
        table = pa.ipc.open_stream(ask("application/vnd.apache.arrow.stream")).read_all()
    assert table.column("rank").type == pa.float32()
    assert table.column("rank").to_pylist() == packed["scores"]["rank"]
    assert packed["scores"]["rank"] == [float(F(float(F(ctr)) ** 2)) for ctr in packed["scores"]["ctr"]]
    assert packed["experiment"]["served"] == "dtn"


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("ranking: {ctr: 1.0, gmv: 0.5}, model: dtn,", "model 'dtn' has no task 'gmv'; it has ctcvr, ctr, cvr"),
        ("ranking: {likes: 1.0},", "model 'ple' has no task 'likes'"),
    ],
)
def test_a_task_that_the_model_lacks_is_refused_with_the_arm(settings: Settings, new: str, said: str) -> None:
    settings.experiments.write_text(EXPERIMENTS.replace("model: dtn,", new))
    with running(settings) as client:
        told = str(client.service.failure)
    assert said in told
    assert "experiment 'dtn-vs-ple', arm 'dtn': ranking" in told
    assert len(told.splitlines()) == 1


def test_a_formula_of_another_layer_must_fit_the_models_it_meets(settings: Settings) -> None:
    layer = """\
  - name: page
    salt: page
    experiments:
      - key: blend
        slots: [[0, 10000]]
        arms:
          - {name: half, weight: 10000, ranking: {ctr: 0.5}, parameters: {blend: 1}}
"""
    settings.experiments.write_text(EXPERIMENTS + layer.replace("ctr: 0.5", "gmv: 0.5"))
    with running(settings) as client:
        assert "arm 'half': ranking: model 'dtn' has no task 'gmv'" in str(client.service.failure)
    settings.experiments.write_text(EXPERIMENTS + layer)
    with running(settings) as client:
        reply = client.score({"user": {"id": "u2"}, "item_ids": ["i1"]})[1]
    assert reply["experiment"]["key"] == "dtn-vs-ple"
    assert [(other["key"], other["arm"], other["served"]) for other in reply["others"]] == [("blend", "half", "half")]
    assert reply["parameters"] == {"blend": 1}
    assert reply["scores"]["rank"] == pytest.approx([reply["scores"]["ctr"][0] ** 0.5], rel=1e-6)
