"""/v2 as tritonclient and other clients of the Open Inference Protocol meet it, over a real socket."""

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import tritonclient.http as triton
from numpy.typing import NDArray
from tritonclient.http import aio
from tritonclient.utils import InferenceServerException

from contract.bundle import read_bundle
from contract.schema import Kind, Schema
from service.api.inference_messages import InferReply, InferRequest
from service.api.tensors import HEADER
from service.lifecycle import Service
from service.scoring.engine import Scores
from service.scoring.inputs import Inputs
from service.settings import Settings
from tests.service.bundles import FIELDS, TASKS, Graph, draw_inputs, write_tiny_bundle
from tests.service.conftest import Bundles, Client, running
from tests.service.tensors import as_json, as_triton, listening

IDS_ALONE = Schema(fields=tuple(field for field in FIELDS if field.kind is not Kind.NUMERIC), tasks=TASKS)
EXPERIMENTS = """\
version: 1
default_model: ple
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: k
        salt: k
        slots: [[0, 10000]]
        arms:
          - {name: old, model: ple@v1, weight: 2500}
          - {name: again, model: ple@v2, weight: 2500}
          - {name: dtn, model: dtn, weight: 2500}
          - {name: ids, model: ids, weight: 2500}
"""
ROWS = 300  # candidates that a request may have


@dataclass(frozen=True)
class Server:
    """A service on a port, and what its models must answer."""

    address: str
    service: Service
    graphs: dict[tuple[str, str], Graph]

    def post(self, body: object, path: str = "models/ple/infer", **headers: str) -> httpx.Response:
        """POST JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return httpx.post(f"http://{self.address}/v2/{path}", content=content, headers=headers)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, redis_address: str) -> Iterator[Server]:
    """Three models, one of them in two versions."""
    root = tmp_path_factory.mktemp("v2")
    seeds = {("ple", "v1"): 1, ("ple", "v2"): 2, ("dtn", "v1"): 3}
    graphs = {key: write_tiny_bundle(root / "b", key[0], seed, version=key[1]) for key, seed in seeds.items()}
    graphs["ids", "v1"] = write_tiny_bundle(root / "b", "ids", 4, schema=IDS_ALONE)
    (root / "experiments.yaml").write_text(EXPERIMENTS)
    settings = Settings(
        bundles=root / "b", experiments=root / "experiments.yaml", redis_url=redis_address, max_batch_rows=ROWS,
        max_body_bytes=100_000, redis_prefix="v2", state=root / "state",
    )  # fmt: skip
    with listening(settings) as (address, service):
        assert service.failure is None
        yield Server(address, service, graphs)


@pytest.fixture
def caller(server: Server) -> Iterator[triton.InferenceServerClient]:
    """The real client."""
    with triton.InferenceServerClient(server.address, concurrency=4) as client:
        yield client


def check(result: Any, expected: dict[str, NDArray[np.float32]]) -> None:
    """Each task's scores, as many as there are candidates."""
    for task, column in expected.items():
        got = result.as_numpy(task)
        assert (got.dtype, got.shape) == (np.float32, column.shape)
        np.testing.assert_allclose(got, column, atol=1e-6)


def test_health_and_metadata(caller: triton.InferenceServerClient, server: Server) -> None:
    assert caller.is_server_live()
    assert caller.is_server_ready()
    assert caller.get_server_metadata()["extensions"] == ["binary_tensor_data"]
    assert httpx.get(f"http://{server.address}/v2/").json() == caller.get_server_metadata()
    assert caller.is_model_ready("ple")
    assert caller.is_model_ready("ple", "v1")
    assert not caller.is_model_ready("ple", "v3")
    assert not caller.is_model_ready("mmoe")
    told = caller.get_model_metadata("ple", "v1")
    assert (told["name"], told["versions"], told["platform"]) == ("ple", ["v1", "v2"], "onnxruntime_onnx")
    assert [(i["name"], i["datatype"], i["shape"]) for i in told["inputs"]] == [
        ("request_ids", "INT32", [-1, 5]), ("request_dense", "FP32", [-1, 2]),
        ("item_ids", "INT32", [-1, 2]), ("item_dense", "FP32", [-1, 2]), ("request_of_item", "INT32", [-1]),
    ]  # fmt: skip
    assert told["outputs"] == [{"name": t, "datatype": "FP32", "shape": [-1]} for t in ("ctr", "ctcvr")]
    inputs = caller.get_model_metadata("ids")["inputs"]
    assert [tensor["name"] for tensor in inputs] == ["request_ids", "item_ids", "request_of_item"]


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("model", [("ple", "v1"), ("ple", "v2"), ("dtn", "v1"), ("ids", "v1")])
def test_golden_cases(
    caller: triton.InferenceServerClient, server: Server, model: tuple[str, str], binary: bool
) -> None:
    inputs, expected = read_bundle(server.service.settings.bundles / model[0] / model[1]).golden()
    outputs = [triton.InferRequestedOutput(task, binary_data=binary) for task in expected]
    result = caller.infer(model[0], as_triton(inputs, binary), model[1], outputs, request_id="a 7")
    check(result, expected)
    reply = result.get_response()
    assert (reply["model_name"], reply["model_version"], reply["id"]) == (*model, "a 7")


def test_without_a_version_the_newest_answers(caller: triton.InferenceServerClient, server: Server) -> None:
    inputs = draw_inputs(server.graphs["ple", "v2"].schema, 2, 5)
    result = caller.infer("ple", as_triton(inputs))
    check(result, server.graphs["ple", "v2"].scores(inputs))
    assert result.get_response()["model_version"] == "v2"
    assert "id" not in result.get_response()


def test_outputs_as_they_are_asked_for(caller: triton.InferenceServerClient, server: Server) -> None:
    graph = server.graphs["dtn", "v1"]
    inputs = draw_inputs(graph.schema, 2, 5)
    wanted = [triton.InferRequestedOutput("ctcvr", binary_data=False), triton.InferRequestedOutput("ctr")]
    result = caller.infer("dtn", as_triton(inputs), outputs=wanted, parameters={"mine": 1}, priority=2, timeout=10**6)
    check(result, graph.scores(inputs))
    outputs = result.get_response()["outputs"]
    assert [output["name"] for output in outputs] == ["ctcvr", "ctr"]
    assert ("data" in outputs[0], outputs[1]["parameters"]) == (True, {"binary_data_size": 20})
    alone = caller.infer("dtn", as_triton(inputs), outputs=wanted[:1])
    assert [output["name"] for output in alone.get_response()["outputs"]] == ["ctcvr"]
    assert alone.as_numpy("ctr") is None


def test_one_request_needs_no_owner_and_long_integers_fit(caller: triton.InferenceServerClient, server: Server) -> None:
    graph = server.graphs["ple", "v2"]
    inputs = draw_inputs(graph.schema, 1, 7)
    sent = {name: array for name, array in inputs.items() if name != "request_of_item"}
    sent["item_ids"] = sent["item_ids"].astype(np.int64)
    for binary in (True, False):
        check(caller.infer("ple", as_triton(sent, binary)), graph.scores(inputs))


def test_inputs_without_columns_may_be_left_out(caller: triton.InferenceServerClient, server: Server) -> None:
    graph = server.graphs["ids", "v1"]
    inputs = draw_inputs(IDS_ALONE, 3, 9)
    sent = {name: array for name, array in inputs.items() if "dense" not in name}
    check(caller.infer("ids", as_triton(sent)), graph.scores(inputs))


def test_candidates_of_requests_in_any_order(caller: triton.InferenceServerClient, server: Server) -> None:
    graph = server.graphs["dtn", "v1"]
    inputs = draw_inputs(graph.schema, 7, ROWS)
    inputs["request_of_item"] = np.random.default_rng(1).permutation(inputs["request_of_item"])
    check(caller.infer("dtn", as_triton(inputs)), graph.scores(inputs))


def test_many_at_once(server: Server) -> None:
    graph = server.graphs["ple", "v1"]
    cases = [draw_inputs(graph.schema, 1 + seed % 3, 1 + 7 * seed % ROWS, seed) for seed in range(60)]

    async def all_at_once() -> list[Any]:
        async with aio.InferenceServerClient(server.address, conn_limit=30) as client:
            calls = [client.infer("ple", as_triton(case, i % 2 == 0), "v1") for i, case in enumerate(cases)]
            return await asyncio.gather(*calls)

    for case, result in zip(cases, asyncio.run(all_at_once()), strict=True):
        check(result, graph.scores(case))


def test_greenlets(caller: triton.InferenceServerClient, server: Server) -> None:
    graph = server.graphs["dtn", "v1"]
    cases = [draw_inputs(graph.schema, 1, 1 + seed, seed) for seed in range(20)]
    calls = [caller.async_infer("dtn", as_triton(case)) for case in cases]
    for case, call in zip(cases, calls, strict=True):
        check(call.get_result(), graph.scores(case))


def test_json_by_hand(server: Server) -> None:
    graph = server.graphs["ple", "v2"]
    inputs = draw_inputs(graph.schema, 2, 4)
    reply = server.post(as_json(inputs))
    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert "inference-header-content-length" not in reply.headers
    outputs = {output["name"]: output for output in reply.json()["outputs"]}
    for task, column in graph.scores(inputs).items():
        assert (outputs[task]["datatype"], outputs[task]["shape"]) == ("FP32", [4])
        np.testing.assert_allclose(outputs[task]["data"], column, atol=1e-6)


def test_errors_have_the_shape_of_the_protocol(caller: triton.InferenceServerClient, server: Server) -> None:
    inputs = as_triton(draw_inputs(server.graphs["ple", "v2"].schema, 2, 5))
    for name, version, expected in (
        ("mmoe", "", "[404] model 'mmoe' is not loaded; loaded: dtn, ids, ple"),
        ("ple", "v9", "[404] model 'ple': version 'v9' is not loaded; loaded: v1, v2"),
    ):
        with pytest.raises(InferenceServerException) as caught:
            caller.infer(name, inputs, version)
        assert str(caught.value) == expected
        with pytest.raises(InferenceServerException) as caught:
            caller.get_model_metadata(name, version)
        assert str(caught.value) == expected
    with pytest.raises(
        InferenceServerException, match=r"^\[400\] input 'request_dense': missing; the model takes FP32"
    ):
        caller.infer("ple", [inputs[0], *inputs[2:]])
    with pytest.raises(InferenceServerException, match=r"^\[400\] Content-Encoding 'gzip' is not taken"):
        caller.infer("ple", inputs, request_compression_algorithm="gzip")
    with pytest.raises(InferenceServerException, match=r"^\[404\] GET /v2/models/ple/config: no such endpoint"):
        caller.get_model_config("ple")


def test_bodies_that_cannot_be_read(server: Server) -> None:
    body = json.dumps(as_json(draw_inputs(server.graphs["ple", "v2"].schema, 2, 4))).encode()
    for content, length, status, expected in (
        (b"{", None, 400, "Invalid JSON: EOF while parsing an object at line 1 column 1"),
        (b"", None, 400, "Invalid JSON: EOF while parsing a value at line 1 column 0"),
        (b"[]", None, 400, "Input should be an object"),
        (body, "x", 400, f"{HEADER}: 'x' is not a length in bytes"),
        (body, "-1", 400, f"{HEADER}: '-1' is not a length in bytes"),
        (body, "9" * 5000, 400, f"{HEADER}: '" + "9" * (400 - len(HEADER) - 3) + "…"),
        (body, str(len(body) + 1), 400, f"{HEADER}: {len(body) + 1}, but the body has {len(body)} bytes"),
        (body + b"12", str(len(body)), 400, "2 bytes follow the JSON, but the inputs' binary_data_size add up to 0"),
        (body.replace(b"item_ids", b"item\\nids"), None, 400, None),
        (b'{"inputs":' + b"[" * 50_000, None, 400, None),
        (b'{"inputs":[' + b"{}," * 30_000 + b"{}]}", None, 400, "inputs[0].name: Field required; and 2 more"),
        (body + b" " * 100_000, None, 413, "at most 100000 bytes (TWINSCORE_MAX_BODY_BYTES)"),
    ):
        reply = server.post(content, **({} if length is None else {HEADER: length}))
        assert (reply.status_code, reply.json()) == (status, {"error": expected or reply.json()["error"]})
        assert "\n" not in reply.json()["error"]
        assert reply.headers["content-type"] == "application/json"


def test_what_comes_too_late_is_refused(client: Client, bundles: Bundles, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(as_json(draw_inputs(bundles.graphs["ple"].schema, 1, 3))).encode()
    engine = client.service.models["ple"].model.engine
    run, entered, gate = engine.run, threading.Semaphore(0), threading.Event()

    def held(inputs: Inputs) -> Scores:
        entered.release()
        gate.wait(20)
        return run(inputs)

    async def post(**headers: str) -> httpx.Response:
        return await client.http.post("/v2/models/ple/infer", content=body, headers=headers)

    async def scenario() -> tuple[httpx.Response, list[httpx.Response]]:
        running = []
        for _ in range(engine.parallel):  # one after the other, or one thread would take several
            running.append(asyncio.create_task(post()))
            await asyncio.to_thread(entered.acquire)
        late = asyncio.create_task(post(**{"X-Deadline-Ms": "20"}))
        await asyncio.sleep(0.1)
        gate.set()
        return await late, await asyncio.gather(*running)

    monkeypatch.setattr(engine, "run", held)
    late, served = client.run(scenario())
    assert [reply.status_code for reply in served] == [200] * engine.parallel
    assert (late.status_code, int(late.headers["retry-after"])) == (503, 1)
    assert re.search("deadline", late.json()["error"])
    reply = client.run(post(**{"X-Deadline-Ms": "soon"}))
    assert (reply.status_code, reply.json()) == (400, {"error": reply.json()["error"]})
    assert reply.json()["error"].startswith("X-Deadline-Ms: ")


def test_scored_tensors_are_counted(server: Server) -> None:
    def sample(name: str) -> float:
        text = httpx.get(f"http://{server.address}/metrics").text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    names = [f'twinscore_inference_requests_total{{model="{m}",status="{s}"}}' for m, s in (("dtn", 200), ("", 404))]
    before = [sample(name) for name in (*names, "twinscore_candidates_total")]
    body = as_json(draw_inputs(server.graphs["dtn", "v1"].schema, 2, 4))
    server.post(body, "models/dtn/infer")
    server.post(body, "models/never-loaded/infer")
    after = [sample(name) for name in (*names, "twinscore_candidates_total")]
    assert [a - b for a, b in zip(after, before, strict=True)] == [1, 1, 4]


def test_a_service_without_its_models_is_not_ready(settings: Settings, tmp_path: Path) -> None:
    write_tiny_bundle(tmp_path / "b", "ple", 1, golden_shift=1e-3)
    write_tiny_bundle(tmp_path / "b", "dtn", 1)
    with running(settings.model_copy(update={"bundles": tmp_path / "b"})) as inside:
        assert (inside.get("/v2/health/live").status_code, inside.get("/v2").status_code) == (200, 200)
        for path in ("/v2/health/ready", "/v2/models/ple/ready", "/v2/models/ple/versions/v1/ready"):
            reply = inside.get(path)
            assert (reply.status_code, reply.content, reply.headers["retry-after"]) == (503, b"", "1")
        for reply in (inside.get("/v2/models/ple"), inside.post(b"{}", "/v2/models/ple/infer")):
            assert (reply.status_code, reply.json()) == (503, {"error": "no model to serve"})
            assert reply.headers["retry-after"] == "1"


def test_ready_without_redis(settings: Settings, bundles: Bundles) -> None:
    inputs = draw_inputs(bundles.graphs["ple"].schema, 1, 3)
    with running(settings.model_copy(update={"redis_url": "redis://127.0.0.1:1"})) as inside:
        assert (inside.get("/readyz").status_code, inside.get("/v2/health/ready").status_code) == (503, 200)
        assert inside.post(json.dumps(as_json(inputs)).encode(), "/v2/models/ple/infer").status_code == 200


def test_the_document_shows_routes_and_examples(client: Client) -> None:
    document = client.get("/openapi.json").json()
    of_model = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
    paths = ["/v2", "/v2/health/live", "/v2/health/ready"] + [
        p + end for p in of_model for end in ("", "/ready", "/infer")
    ]
    assert {path for path in document["paths"] if path.startswith("/v2")} == set(paths)
    for path in of_model:
        infer = document["paths"][f"{path}/infer"]["post"]
        assert {parameter["name"] for parameter in infer["parameters"]} == {
            *re.findall(r"{(\w+)}", path), HEADER, "X-Deadline-Ms",
        }  # fmt: skip
        assert set(infer["responses"]) == {"200", "400", "404", "413", "4XX", "503"}
        shown = infer["requestBody"]["content"]
        assert shown["application/json"]["schema"] == {"$ref": "#/components/schemas/InferRequest"}
        InferRequest.model_validate(shown["application/json"]["example"])
        InferReply.model_validate(infer["responses"]["200"]["content"]["application/json"]["example"])
        assert "application/octet-stream" in shown
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    assert {r.removeprefix("#/components/schemas/") for r in references} <= set(document["components"]["schemas"])
    operations = [o["operationId"] for methods in document["paths"].values() for o in methods.values()]
    assert len(operations) == len(set(operations))
