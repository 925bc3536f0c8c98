"""Every option of a field, from prepared columns to /score: what the service makes of raw values is what PyTorch saw.

PyTorch reads matrices that `Prepared.joined` made of encoded columns; the service reads raw values, and rows in Redis.
"""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from redis import Redis

from contract.bundle import INPUTS, Arrays, read_bundle
from contract.encoding import encode_columns
from contract.local_redis import private_redis
from contract.rows import layout, live_key, redis_key
from contract.schema import Schema, Side
from export.model import export_model
from export.parity import torch_scores
from service.example import inline_example
from service.scoring.cuda_engine import CudaEngine
from service.scoring.cuda_session import CudaOptions
from service.scoring.device_table import Table
from service.scoring.engine import Scores
from service.scoring.inputs import from_arrays
from service.settings import Settings
from tests.export.runs import run_folder
from tests.service.conftest import Client, running
from tests.training import tiny
from training.checkpoint import load_checkpoint
from training.datasets.prepared import Prepared, weights_column

EXACT = 1e-5
SCHEMA = Schema(user_key="u", item_key="i", fields=tiny.RICH, tasks=(tiny.CLICK, tiny.BUY))
USER: dict[str, Any] = {
    "user": "value 3", "likes": {"value 2": 0.5, "value 4": 2.0, "value 6": 0.1, "new": 1.0}, "age": 4
}  # fmt: skip
ITEMS: dict[str, dict[str, Any]] = {
    f"i{n}": {"item": f"value {n}", "tags": [["value 1", n / 4], [f"value {n}", 1.5]], "price": n, "stars": n - 2.5}
    for n in range(1, 9)
}
INLINE = ("i1", "i2")  # not in Redis
MOMENT = "2026-01-31T12:34:56Z"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model of all options, as training leaves it."""
    return run_folder(tmp_path_factory.mktemp("rich"), "ple", SCHEMA)


@pytest.fixture(scope="module")
def client(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """The model served, its user and most items in Redis."""
    bundle = read_bundle(export_model(run, run.parent / "bundles"))
    assert set(bundle.graphs) == {"request", "item", "candidate"}  # a computed cross is hardly ever its default
    experiments = run.parent / "experiments.yaml"
    experiments.write_text("version: 1\ndefault_model: ple\n")
    with private_redis(tmp_path_factory.mktemp("redis")) as url:
        with Redis.from_url(url) as redis:
            load(redis, Prepared.open(run.parent / "data"))
        settings = Settings(
            bundles=run.parent / "bundles", experiments=experiments, redis_url=url, redis_timeout_ms=5000,
            state=run.parent / "state", log=f"file:{run.parent / 'log'}",
        )  # fmt: skip
        with running(settings) as client:
            assert client.service.failure is None
            yield client


def load(redis: Redis, data: Prepared) -> None:
    """The rows that `export features` would write."""
    fingerprint = data.schema.fingerprint()
    stored = {key: item for key, item in ITEMS.items() if key not in INLINE}
    for kind, side, rows in (("u", Side.USER, {"u1": USER}), ("i", Side.ITEM, stored)):
        columns = [
            encode_columns(field, data.dictionaries, [row[field.name] for row in rows.values()])
            for field in data.schema.on(side)
        ]
        ids, dense = np.hstack([part.ids for part in columns]), np.hstack([part.dense for part in columns])
        for key, row in zip(rows, layout(data.schema, data.dictionaries, side).encode(ids, dense), strict=True):
            redis.set(redis_key("twinscore", fingerprint, "g", kind, key), row)
    redis.set(live_key("twinscore", fingerprint), "g")


def trained_on(data: Prepared, rows: list[dict[str, Any]]) -> Arrays:
    """Rows of raw values as training would have met them, each a request of its own."""
    columns: dict[str, pl.Series] = {}
    for field in data.schema.fields:
        if field.cross:
            continue
        ids, dense = encode_columns(field, data.dictionaries, [row.get(field.name) for row in rows])
        values = ids if field.slots else dense
        columns[field.name] = pl.Series(values if field.slots > 1 else values[:, 0])
        if field.weights:
            columns[weights_column(field)] = pl.Series(dense)
    matrices = data.joined(pl.DataFrame(columns))
    owner = np.arange(len(rows), dtype=np.int32)
    inputs = (matrices.request_ids, matrices.request_dense, matrices.item_ids, matrices.item_dense, owner)
    return dict(zip(INPUTS, inputs, strict=True))


def pytorch(run: Path, rows: list[dict[str, Any]]) -> Scores:
    """Scores of rows of raw values."""
    checkpoint = load_checkpoint(run)
    return torch_scores(checkpoint.model, checkpoint.schema, trained_on(Prepared.open(run.parent / "data"), rows))


def assert_scores(client: Client, body: dict[str, Any], expected: Scores) -> None:
    """Post a body to /score."""
    status, reply = client.score(body)
    assert status == 200, reply
    for task, scores in expected.items():
        np.testing.assert_allclose(reply["scores"][task], scores, atol=EXACT, rtol=0)


def test_scores_of_stored_and_of_inline_features_are_pytorchs(run: Path, client: Client) -> None:
    rows = [USER | {"hour": MOMENT, "shelf": f"value {n % 4}"} | item for n, item in enumerate(ITEMS.values())]
    items: list[dict[str, Any]] = [
        {"id": key, "features": {"shelf": f"value {n % 4}"} | (item if key in INLINE else {})}
        for n, (key, item) in enumerate(ITEMS.items())
    ]
    expected = pytorch(run, rows)
    body = {"user": {"id": "u1"}, "items": items, "context": {"hour": MOMENT}}
    assert_scores(client, body, expected)
    assert_scores(client, body, expected)  # now from what is kept of the items
    inline = [{"id": item["id"], "features": item["features"] | ITEMS[item["id"]]} for item in items]
    assert_scores(client, body | {"items": inline, "user": {"features": USER}}, expected)
    ids = {"user": {"id": "u1"}, "item_ids": ["i5", "i7"], "context": {"hour": MOMENT}}
    assert_scores(client, ids, pytorch(run, [USER | {"hour": MOMENT} | ITEMS[key] for key in ("i5", "i7")]))


def test_every_option_moves_the_scores(run: Path) -> None:
    """Else the test above would prove nothing of it."""
    row = USER | {"hour": MOMENT, "shelf": "value 1"} | ITEMS["i5"]
    others: list[dict[str, Any]] = [
        {"likes": {"value 2": 0.9}},
        {"likes": {"value 2": 0.8}},
        {"hour": "2026-01-31T13:34Z"},
        {"price": 1.5},
    ]
    rows = [row, *(row | other for other in others)]
    ctr = pytorch(run, rows)["ctr"]
    assert len(set(ctr.round(6).tolist())) == len(rows)
    data = Prepared.open(run.parent / "data")
    arrays = trained_on(data, rows)
    for name, column in (("request_ids", -1), ("item_ids", -1)):
        assert (arrays[name][:, column] > 0).all()
        without = arrays | {name: arrays[name].copy()}
        without[name][:, column] = 0
        checkpoint = load_checkpoint(run)
        changed = torch_scores(checkpoint.model, checkpoint.schema, without)["ctr"]
        assert (abs(changed - ctr) > 1e-6).all()


def test_without_a_time_it_is_now(client: Client) -> None:
    body = {"user": {"id": "u1"}, "item_ids": ["i5"]}
    contexts: list[dict[str, Any]] = [{"hour": time.time()}, {}, {"hour": "now"}, {"hour": None}, {"hour": time.time()}]
    before, *now, after = [client.score(body | {"context": context})[1]["scores"] for context in contexts]
    assert all(scores in (before, after) for scores in now)  # the hour may end meanwhile


def test_an_hour_is_no_time(client: Client) -> None:
    status, reply = client.score({"user": {"id": "u1"}, "item_ids": ["i5"], "context": {"hour": 5}})
    assert status == 422
    assert "context.hour: field 'hour' takes the time itself" in reply["detail"]


def test_the_example_without_stored_rows_is_answered(client: Client) -> None:
    body = inline_example(client.service.models["ple"].model)
    status, reply = client.score(body)
    assert (status, body["context"]) == (200, {"hour": "now"}), reply
    assert body["user"]["features"]["likes"] == {"value 1": 1.0}


def test_a_device_scores_the_same(client: Client) -> None:
    """Items' columns are kept without crosses, which each candidate brings with it."""
    bundle = client.service.models["ple"].model.bundle
    arrays, expected = bundle.golden()
    engine = CudaEngine(bundle, CudaOptions(graphs=False), 64, Table(100, 1), device="cpu")
    keyed = replace(from_arrays(arrays), item_keys=np.arange(1, len(arrays["item_ids"]) + 1) | 1 << 24)
    for inputs in (from_arrays(arrays), keyed, keyed):
        for task, scores in engine.run(inputs).items():
            np.testing.assert_allclose(scores, expected[task], atol=EXACT, rtol=0)


def test_tensors_need_no_crosses(run: Path, client: Client) -> None:
    rows = [USER | {"hour": MOMENT, "shelf": "value 2"} | item for item in ITEMS.values()]
    expected, arrays = pytorch(run, rows), trained_on(Prepared.open(run.parent / "data"), rows)
    arrays["request_ids"][:, -1] = 0
    arrays["item_ids"][:, -1] = 3
    kinds = {"int32": "INT32", "float32": "FP32"}
    inputs = [
        {"name": name, "shape": list(array.shape), "datatype": kinds[str(array.dtype)], "data": array.ravel().tolist()}
        for name, array in arrays.items()
    ]
    reply = client.run(client.http.post("/v2/models/ple/infer", json={"inputs": inputs})).json()
    for output in reply["outputs"]:
        np.testing.assert_allclose(output["data"], expected[output["name"]], atol=EXACT, rtol=0)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"context": {"user_hour": 3}}, "context.user_hour: field 'user_hour' is computed; send user and hour instead"),
        ({"context": {"hour": "noon"}}, "context.hour: field 'hour' takes a time, now, ISO 8601"),
        ({"context": {"ours": 1}}, "context.ours: unknown feature; known here: hour"),
        (
            {"user": {"features": {"likes": {"value 1": "2"}}}},
            "user.features.likes: field 'likes' takes {value: weight}",
        ),
        (
            {"items": [{"id": 1}, {"id": 2, "features": {"tags": [["a"]]}}]},
            "items[1].features.tags: field 'tags' takes {value: weight}, or a list of [value, weight] pairs",
        ),
        ({"items": [{"id": 1, "features": {"user_item": 2}}]}, "items[0].features.user_item: field 'user_item' is"),
        ({"items": [{"id": 1, "features": {"price": "2"}}]}, "field 'price' takes a finite number, not '2'"),
    ],
)
def test_a_value_that_does_not_fit_is_named(client: Client, body: dict[str, Any], problem: str) -> None:
    status, reply = client.score({"item_ids": ["i5"]} | body if "items" not in body else body)
    assert status == 422
    assert problem in reply["detail"]
