"""Whatever JSON arrives, /score answers 200 or says what is wrong; it never fails."""

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service.conftest import Client

NAMES = st.sampled_from(
    ["gender", "age", "history", "scene", "hour", "category", "price", "brand", "affinity", "x", ""]
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from([10**400, -(10**30), 2**63, -(2**63), 0]),
    st.floats(), st.text(max_size=12), st.sampled_from(["u1", "i1", "a|b", "\x00", "\ud800", "x" * 300, "1e5"]),
)  # fmt: skip
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
FEATURES = st.dictionaries(NAMES, VALUES, max_size=4) | VALUES
IDS = st.sampled_from(["u1", "i1", 42]) | VALUES
ITEM = st.fixed_dictionaries({}, optional={"id": IDS, "features": FEATURES, "z": VALUES}) | VALUES
BODIES = (
    st.fixed_dictionaries(
        {},
        optional={
            "user": st.fixed_dictionaries({}, optional={"id": IDS, "features": FEATURES}) | VALUES,
            "items": st.lists(ITEM, max_size=5) | VALUES,
            "item_ids": st.lists(IDS, max_size=5) | VALUES,
            "context": FEATURES,
            "request_id": VALUES,
            "arm": st.sampled_from(["ple", "dtn", "x"]) | VALUES,
        },
    )
    | VALUES
)
LIKELY = st.fixed_dictionaries(
    {
        "items": st.lists(
            st.fixed_dictionaries({"id": st.text(min_size=1)}, optional={"features": FEATURES}), min_size=1, max_size=4
        )
    },
    optional={"context": FEATURES, "user": st.fixed_dictionaries({}, optional={"features": FEATURES})},
)
FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(client: Client, body: bytes) -> None:
    response = client.post(body)
    assert response.status_code in (200, 400, 403, 422), response.text
    kind = "application/json" if response.status_code == 200 else "application/problem+json"
    assert response.headers["content-type"] == kind
    content = json.loads(response.content)
    if response.status_code == 200:
        assert {len(column) for column in content["scores"].values()} == {len(content["item_ids"])}
    else:
        assert content["detail"]


@FUZZ
@given(body=BODIES | LIKELY)
def test_json_of_any_shape(client: Client, body: object) -> None:
    check(client, json.dumps(body).encode())


@FUZZ
@given(body=LIKELY, cut=st.integers(0, 200), junk=st.binary(max_size=3))
def test_bytes_that_are_almost_json(client: Client, body: object, cut: int, junk: bytes) -> None:
    text = json.dumps(body, ensure_ascii=False).encode("utf-8", "surrogatepass")
    check(client, text[:cut] + junk + text[cut:])
