"""POST /score: scores, overrides, limits, problems."""

import json
import re
from typing import Any

import numpy as np
import pytest

from tests.service.bundles import expected
from tests.service.conftest import ITEMS, USERS, Bundles, Client

CONTEXT = {"scene": "cart", "hour": 0.7}


def check(reply: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert set(reply["scores"]) == set(wanted)
    for task, scores in wanted.items():
        np.testing.assert_allclose(reply["scores"][task], scores, atol=1e-5, rtol=0)


@pytest.mark.parametrize("arm", ["ple", "dtn"])
def test_scores_are_those_of_the_stored_rows_and_the_arm(client: Client, bundles: Bundles, arm: str) -> None:
    ids = ["i3", "i11", "i0", "i3"]
    body = {"user": {"id": "u1"}, "item_ids": ids, "context": CONTEXT, "arm": arm, "request_id": "r-1"}
    status, reply = client.score(body)
    assert status == 200
    check(reply, expected(bundles.graphs[arm], USERS["u1"], CONTEXT, [ITEMS[i] for i in ids]))
    assert reply["item_ids"] == ids
    assert reply["request_id"] == "r-1"
    assert reply["model"] == {"name": arm, "version": "v1"}
    assert reply["experiment"] == {
        "key": "dtn-vs-ple", "arm": arm, "served": arm, "phase": 1, "slot": None, "reason": "forced",
        "config_version": 7,
    }  # fmt: skip
    assert (reply["parameters"], reply["others"]) == ({}, [])
    assert reply["degraded"] == []


def test_inline_features_override_the_stored_ones_field_by_field(client: Client, bundles: Bundles) -> None:
    items: list[dict[str, Any]] = [
        {"id": "i1", "features": {"price": -3, "affinity": 0.25}},
        {"id": "i2"},
        {"id": "i3", "features": {"category": "z", "brand": "other"}},
        {"id": "new", "features": {"category": "w", "price": 1.5, "brand": "b1", "affinity": -1}},
    ]
    user: dict[str, Any] = {"id": "u1", "features": {"gender": "m", "history": ["b", "unseen", "a", "d"]}}
    status, reply = client.score({"user": user, "items": items, "context": CONTEXT, "arm": "dtn"})
    assert status == 200
    merged = [ITEMS.get(str(item["id"]), {}) | dict(item.get("features", {})) for item in items]
    check(reply, expected(bundles.graphs["dtn"], USERS["u1"] | user["features"], CONTEXT, merged))


def test_null_takes_the_default_and_not_the_stored_value(client: Client, bundles: Bundles) -> None:
    body = {
        "user": {"id": "u1", "features": {"age": None}},
        "item_ids": ["i1"],
        "context": {"scene": None},
        "arm": "ple",
    }
    status, reply = client.score(body)
    assert status == 200
    check(reply, expected(bundles.graphs["ple"], USERS["u1"] | {"age": None}, {}, [ITEMS["i1"]]))


def test_unknown_users_and_items_get_the_missing_row_and_are_counted(client: Client, bundles: Bundles) -> None:
    status, reply = client.score({"user": {"id": "nobody"}, "item_ids": ["i1", "x", "y"], "arm": "ple"})
    assert status == 200
    assert reply["degraded"] == []
    check(reply, expected(bundles.graphs["ple"], {}, {}, [ITEMS["i1"], {}, {}]))
    assert client.metric('twinscore_missing_rows_total{side="user"}') == 1
    assert client.metric('twinscore_missing_rows_total{side="item"}') == 2
    assert client.metric("twinscore_candidates_total") == 3


def test_a_request_without_a_user_meets_the_default_model(client: Client, bundles: Bundles) -> None:
    for body in ({"item_ids": ["i1"]}, {"user": {}, "item_ids": ["i1"]}, {"user": {"id": None}, "item_ids": ["i1"]}):
        status, reply = client.score(body)
        assert status == 200
        assert reply["model"]["name"] == "ple"
        assert reply["experiment"] == {
            "key": None, "arm": None, "served": None, "phase": None, "slot": None, "reason": "no-user",
            "config_version": 7,
        }  # fmt: skip
        assert (reply["parameters"], reply["others"]) == ({}, [])
        check(reply, expected(bundles.graphs["ple"], {}, {}, [ITEMS["i1"]]))
    assert client.metric('twinscore_missing_rows_total{side="user"}') == 0


def test_a_number_and_its_text_are_one_id(client: Client) -> None:
    number, text = (client.score({"user": {"id": i}, "item_ids": ["i1", 7]})[1] for i in (42, "42"))
    assert number["scores"] == text["scores"]
    assert number["experiment"] == text["experiment"]
    assert number["experiment"]["reason"] == "override"  # the file writes it as a number
    assert number["item_ids"] == ["i1", 7]
    assert client.metric('twinscore_missing_rows_total{side="user"}') == 0


def test_scores_read_back_to_the_same_float32(client: Client) -> None:
    body = json.dumps({"user": {"id": "u1"}, "item_ids": list(ITEMS), "arm": "ple"}).encode()
    text = client.post(body).text
    digits = text.split('"ctr":[')[1].split("]")[0].split(",")
    assert max(map(len, digits)) <= 14  # the shortest form of a float32, not that of a double
    values = [float(value) for value in digits]
    assert [str(np.float32(value)) for value in values] == [str(np.float32(float(d))) for d in digits]
    assert len({np.float32(value) for value in values}) > 30


def test_a_request_id_is_made_and_sent_in_body_and_header(client: Client) -> None:
    response = client.post(b'{"item_ids": ["i1"]}')
    made = response.json()["request_id"]
    assert len(made) == 32
    assert response.headers["x-request-id"] == made
    response = client.post(b'{"item_ids": ["i1"], "request_id": "mine", "context": {"no": 1}}')
    assert (response.status_code, response.json()["instance"], response.headers["x-request-id"]) == (
        422,
        "mine",
        "mine",
    )


BAD: list[tuple[object, int, str, str]] = [
    ({}, 422, "invalid-request", "exactly one"),
    ({"items": [{"id": "i"}], "item_ids": ["i"]}, 422, "invalid-request", "exactly one"),
    ({"item_ids": []}, 422, "invalid-request", "item_ids"),
    ({"items": []}, 422, "invalid-request", "items"),
    ({"item_ids": [f"i{n}" for n in range(201)]}, 422, "invalid-request", "201 candidates; at most 200"),
    ({"item_ids": ["i1"], "usr": {}}, 422, "invalid-request", "usr: unknown key"),
    ({"item_ids": ["i1"], "user": {"name": "x"}}, 422, "invalid-request", "user.name: unknown key"),
    ({"items": [{"id": "i1", "price": 3}]}, 422, "invalid-request", "price: unknown key"),
    ({"items": [{"id": "i1"}, {"features": {}}]}, 422, "invalid-request", "items[1].id"),
    ({"items": ["i1"]}, 422, "invalid-request", "items[0]"),
    ({"item_ids": ["i1", 1.5]}, 422, "invalid-request", "item_ids[1]: an id is a non-empty string or a 64-bit integer"),
    ({"item_ids": ["i1", True]}, 422, "invalid-request", "item_ids[1]: an id is"),
    ({"item_ids": [""]}, 422, "invalid-request", "item_ids[0]: an id is"),
    ({"item_ids": [2**63]}, 422, "invalid-request", "item_ids[0]: an id is"),
    ({"item_ids": ["i1"], "user": {"id": {}}}, 422, "invalid-request", "user.id: an id is"),
    ({"item_ids": ["i1", "x" * 257]}, 422, "invalid-request", "item_ids[1]: longer than 256 bytes"),
    ({"items": [{"id": "ü" * 129}]}, 422, "invalid-request", "items[0].id: longer than 256 bytes"),
    ({"item_ids": ["i1"], "user": {"id": "x" * 257}}, 422, "invalid-request", "user.id: longer than 256 bytes"),
    ({"item_ids": ["i1"], "request_id": "two words"}, 422, "invalid-request", "request_id"),
    ({"item_ids": ["i1"], "arm": "mmoe"}, 422, "unknown-arm", "known: dtn, ple"),
    ({"item_ids": ["i1"], "context": {"gender": "f"}}, 422, "invalid-feature", "context.gender: a user field; send"),
    ({"item_ids": ["i1"], "context": {"weather": 1}}, 422, "invalid-feature", "known here: scene, hour"),
    ({"item_ids": ["i1"], "user": {"features": {"price": 1}}}, 422, "invalid-feature", "price: an item field"),
    ({"items": [{"id": 1}, {"id": 2, "features": {"scene": 1}}]}, 422, "invalid-feature", "items[1].features.scene"),
    ({"items": [{"id": 1, "features": {"prize": 1}}]}, 422, "invalid-feature", "known here: category, price, brand"),
    (
        {"items": [{"id": 1, "features": {"price": 1}}, {"id": 2}, {"id": 3, "features": {"price": "cheap"}}]},
        422, "invalid-feature", "items[2].features.price: field 'price' takes a finite number, not 'cheap'",
    ),
    ({"item_ids": [1], "context": {"hour": [1]}}, 422, "invalid-feature", "context.hour"),
    ({"item_ids": [1], "context": {"hour": 10**400}}, 422, "invalid-feature", "context.hour"),
    ({"item_ids": [1], "context": {"scene": {"a": 1}}}, 422, "invalid-feature", "context.scene"),
    ({"item_ids": [1], "user": {"features": {"history": {"a": 1}}}}, 422, "invalid-feature", "user.features.history"),
    ({"item_ids": [1], "user": {"features": {"history": [["a"]]}}}, 422, "invalid-feature", "user.features.history"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "kind", "detail"), BAD, ids=[detail[:40] for *_, detail in BAD])
def test_a_bad_request_says_what_and_where(client: Client, body: object, status: int, kind: str, detail: str) -> None:
    response = client.post(json.dumps(body).encode())
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["type"] == f"urn:twinscore:problem:{kind}"
    assert detail in problem["detail"]
    assert problem["status"] == status
    assert problem["instance"] == response.headers["x-request-id"]


RAW: list[tuple[bytes, int]] = [
    (b"", 400),
    (b"{", 400),
    (b"not json", 400),
    (b"[" * 100_000, 400),
    (b'{"item_ids": ["\xff"]}', 400),
    (b'{"item_ids": ["\\ud800"]}', 400),
    (b'{"item_ids": [' + b"9" * 5000 + b"]}", 400),
    (b"[]", 422),
    (b"null", 422),
    (b'{"item_ids": ["i1"], "context": {"hour": NaN}}', 422),
    (b'{"item_ids": ["i1"], "context": {"hour": Infinity}}', 422),
    (b'{"item_ids": ["i1"], "context": {"hour": 1e400}}', 422),
    (b'{"item_ids": ["i1"], "context": {"scene": NaN}}', 200),
    (b'{"item_ids": ["a\\u0000b", "\\u0000"], "user": {"id": "\\u0000"}}', 200),
    ('{"item_ids": ["日本", "😀", "e\u0301"]}'.encode(), 200),
    (b'{"item_ids": ["*", "a b", "a\\nb", "x:y:z", "{i1}"]}', 200),
]


@pytest.mark.parametrize(("body", "status"), RAW, ids=[str(body[:40]) for body, _ in RAW])
def test_raw_bodies_never_fail_the_service(client: Client, body: bytes, status: int) -> None:
    response = client.post(body)
    assert response.status_code == status, response.text
    if status == 400:
        assert response.json()["type"].endswith("invalid-json")
        assert "column" in response.json()["detail"]


def test_a_body_over_the_limit_is_refused_announced_or_not(client: Client) -> None:
    limit = client.service.settings.max_body_bytes
    exact = b'{"item_ids": ["i1"]}'.ljust(limit)
    assert client.post(exact).status_code == 200
    assert client.post(exact + b" ").status_code == 413

    async def chunks() -> Any:
        for _ in range(40):
            yield b" " * (limit // 20)

    async def stream() -> int:
        return (await client.http.post("/score", content=chunks())).status_code

    assert client.run(stream()) == 413
    assert client.metric('twinscore_requests_total{arm="",model="",status="413"}') == 2


def test_many_errors_in_one_body_are_still_cheap_and_short(client: Client) -> None:
    keys = {str(n): 1 for n in range(60_000)}
    bodies: list[dict[str, Any]] = [
        {"item_ids": [[]] * 200_000},
        {"items": [{}] * 200_000},
        {"item_ids": [1], "x" * 100_000: 1},
        {"item_ids": [1], **keys},
        {"items": [{"id": 1, **keys}]},
        {"item_ids": [1], "user": keys},
        {"item_ids": [1], "context": keys},
    ]
    for body in bodies:
        response = client.post(json.dumps(body).encode())
        assert response.status_code == 422
        assert len(response.content) < 1000


def test_framework_errors_are_problems_too(client: Client) -> None:
    for response, status in (
        (client.get("/nothing"), 404),
        (client.get("/score"), 405),
        (client.post(b"", "/livez"), 405),
    ):
        assert response.status_code == status
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["status"] == status
    assert client.get("/score").headers["allow"] == "POST"


def test_an_unexpected_error_is_a_problem_without_internals(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scoring.pipeline.compose", lambda scores: 1 / 0)
    response = client.post(b'{"item_ids": ["i1"], "request_id": "r9"}')
    assert response.status_code == 500
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["instance"] == "r9"
    assert "division" not in response.text
    assert client.metric('twinscore_requests_total{arm="",model="ple",status="500"}') == 1


def test_scores_that_are_not_finite_are_null_and_said_so(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.scoring.pipeline.compose", lambda s: {k: v * np.float32("nan") for k, v in s.items()})
    status, reply = client.score({"item_ids": ["i1"]})
    assert (status, reply["scores"]["ctr"], reply["degraded"]) == (200, [None], ["scores:not-finite"])
    assert client.metric('twinscore_degraded_total{reason="scores:not-finite"}') == 1


def test_the_document_describes_request_reply_and_problems(client: Client) -> None:
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/score"]["post"]
    schemas = document["components"]["schemas"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
    assert set(schemas[body]["properties"]) == {"user", "items", "item_ids", "context", "request_id", "arm"}
    assert "example" in schemas[body]
    assert set(operation["responses"]) == {"200", "400", "403", "406", "413", "415", "422", "503"}
    assert "application/problem+json" in operation["responses"]["422"]["content"]
    references = set(json.dumps(document).split('"#/components/schemas/')[1:])
    assert {reference.split('"')[0] for reference in references} <= set(schemas)


def test_the_page_at_docs_loads_nothing_from_elsewhere(client: Client) -> None:
    page = client.get("/docs").text
    sources = re.findall(r"""(?:src|href)=["']([^"']+)""", page)
    assert any(source.endswith("swagger-ui-bundle.js") for source in sources)
    assert [client.get(source).status_code for source in sources] == [200] * len(sources)
