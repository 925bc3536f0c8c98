"""POST /events: what is taken, what is refused and how it is said, and that 202 means that the log has it."""

import json
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, time
from typing import Any

import pytest

from service.experiments.log import queue as log
from service.settings import Settings
from tests.service.conftest import Client, running
from tests.service.experiments.log.logs import Found, in_folder

CLICK: dict[str, Any] = {"id": "e1", "user": "u1", "type": "click"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "log"


@pytest.fixture
def logging(settings: Settings, folder: Path) -> Iterator[Client]:
    """The usual service, with a log."""
    with running(settings.model_copy(update={"log": f"file:{folder}"})) as client:
        yield client


def _sent(client: Client, folder: Path, body: object) -> Found:
    reply = client.post(json.dumps(body).encode(), "/events")
    assert reply.status_code == 202, reply.text
    records = in_folder(folder)
    assert reply.json() == {"accepted": len(records)}
    return records


def test_events_are_in_the_log_when_they_are_answered(logging: Client, folder: Path) -> None:
    """With all that was sent, and in the order of the list."""
    full = {**CLICK, "type": "conversion", "time": "2026-01-02T03:04:05.678+01:00", "value": 19.99, "request_id": "r1"}
    before = int(time() * 1000)
    first, second, third = _sent(
        logging, folder, [CLICK, {**full, "id": "e2", "item_id": 7}, {**CLICK, "id": "e3", "user": 42, "time": 5}]
    )
    envelope = {"producer": logging.service.log.producer}
    assert before <= first["time"] <= time() * 1000
    assert first == envelope | {"number": 1, "kind": "click", "time": first["time"], "id": "e1", "user": "u1"}
    assert second == envelope | {
        "number": 2,
        "kind": "conversion",
        "time": 1767319445678,
        "id": "e2",
        "user": "u1",
        "value": 19_990_000,
        "request": "r1",
        "item": "7",
    }
    assert third == envelope | {"number": 3, "kind": "click", "time": 5, "id": "e3", "user": "42"}


VALUES = {
    "19.99": 19_990_000,
    "-4.35": -4_350_000,
    "0.000001": 1,
    "1e-7": 0,
    "0": 0,
    "1.0000005": 1_000_000,
    "4503599.627371": 4_503_599_627_371,
    "1000000000000": 10**18,
    "-1e12": -(10**18),
}


def test_values_are_whole_millionths_of_what_is_written(logging: Client, folder: Path) -> None:
    """No sum of them is inexact later."""
    events = ", ".join(f'{{"id": "e", "user": "u1", "type": "value", "value": {value}}}' for value in VALUES)
    assert logging.post(f"[{events}]".encode(), "/events").status_code == 202
    assert [record["value"] for record in in_folder(folder)] == list(VALUES.values())


def test_times_are_rfc_3339_or_milliseconds(logging: Client, folder: Path) -> None:
    """All the same instant."""
    instant = 1795378500000
    texts = ["2026-11-22T20:15:00Z", "2026-11-22t20:15:00.000z", "2026-11-22 21:15:00+01:00"]
    records = _sent(logging, folder, [{**CLICK, "time": sent} for sent in (*texts, instant)])
    assert [record["time"] for record in records] == [instant] * 4


NOW = int(time() * 1000)
REFUSED: list[tuple[object, str]] = [
    ([CLICK, CLICK, CLICK, {**CLICK, "time": "2026-11-22T20:15:00"}], "events[3].time: takes RFC 3339 with a zone"),
    ({**CLICK, "time": "yesterday"}, "time: takes RFC 3339 with a zone"),
    ({**CLICK, "time": "2026-02-30T00:00:00Z"}, "time: no such date"),
    ({**CLICK, "time": True}, "time: takes RFC 3339"),
    ({**CLICK, "time": 1.5}, "time: takes RFC 3339"),
    ({**CLICK, "time": None}, "time: takes RFC 3339"),
    ({**CLICK, "time": -1}, "time: lies before 1970"),
    ({**CLICK, "time": NOW + 25 * 3_600_000}, "time: lies more than 24 hours in the future"),
    ({**CLICK, "time": "9999-12-31T23:59:59Z"}, "time: lies more than 24 hours in the future"),
    ({**CLICK, "price": 1}, "price: unknown key"),
    ({**CLICK, "type": "view"}, "type: Input should be 'click', 'conversion' or 'value'"),
    ({**CLICK, "user": ""}, "user: an id is a non-empty string"),
    ({**CLICK, "user": 1.5}, "user: an id is a non-empty string"),
    ({**CLICK, "user": "é" * 129}, "user: longer than 256 bytes"),
    ([{**CLICK, "item_id": "x" * 257}], "events[0].item_id: longer than 256 bytes"),
    ({**CLICK, "id": ""}, "id: "),
    ({**CLICK, "id": 7}, "id: "),
    ({"user": "u1", "type": "click"}, "id: Field required"),
    ({**CLICK, "value": 1}, "a click has no value"),
    ({**CLICK, "type": "value"}, "an event of type 'value' needs a value"),
    ([CLICK, {**CLICK, "type": "value"}], "events[1]: an event of type 'value' needs a value"),
    ({**CLICK, "type": "value", "value": "5"}, "value: takes a finite number"),
    ({**CLICK, "type": "value", "value": True}, "value: takes a finite number"),
    ({**CLICK, "type": "value", "value": 1e13}, "value: takes a finite number"),
    ({**CLICK, "type": "value", "value": float("nan")}, "value: takes a finite number"),
    ({**CLICK, "type": "value", "value": float("inf")}, "value: takes a finite number"),
    ({**CLICK, "request_id": "a b"}, "request_id: "),
    ([], "events: "),
    ([CLICK] * 1001, "events: "),
    (7, ""),
]


def test_what_does_not_fit_is_named_and_nothing_is_kept(logging: Client, folder: Path) -> None:
    """In one line; of a list all are taken or none."""
    for body, said in REFUSED:
        reply = logging.post(json.dumps(body).encode(), "/events")
        problem = reply.json()
        assert reply.status_code == 422, body
        assert problem["detail"].startswith(said), problem["detail"]
        assert "\n" not in problem["detail"]
    assert not folder.exists()


def test_what_is_not_json_is_400(logging: Client) -> None:
    """As in /score."""
    for body in (b"", b"{", b"[{]", b"\xff"):
        reply = logging.post(body, "/events")
        assert (reply.status_code, reply.json()["type"]) == (400, "urn:twinscore:problem:invalid-json"), body


def test_a_long_body_is_413(settings: Settings) -> None:
    """As in /score."""
    with running(settings.model_copy(update={"max_body_bytes": 100})) as client:
        assert client.post(b"[" + b" " * 100, "/events").status_code == 413


def test_without_a_sink_events_are_refused_in_time(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, and the caller may send them again; scoring goes on."""
    monkeypatch.setattr(log, "EVENT_SECONDS", 0.3)
    with running(settings.model_copy(update={"log": f"unix://{tmp_path}/none.sock"})) as client:
        started = perf_counter()
        reply = client.post(json.dumps(CLICK).encode(), "/events")
        assert 0.3 <= perf_counter() - started < 1
        assert reply.status_code == 503
        assert reply.headers["Retry-After"] == "1"
        assert reply.json()["type"] == "urn:twinscore:problem:log-down"
        assert client.score({"user": {"id": "u1"}, "item_ids": ["i1"]})[0] == 200
        monkeypatch.setattr(log, "CLOSE_SECONDS", 0.1)


def test_a_service_without_a_log_says_so(client: Client) -> None:
    """There is nothing to wait for."""
    reply = client.post(json.dumps(CLICK).encode(), "/events")
    assert (reply.status_code, reply.json()["type"]) == (501, "urn:twinscore:problem:log-off")


def test_scored_requests_are_exposed(settings: Settings, folder: Path) -> None:
    """Flushed when the service ends; requests without a user are none."""
    with running(settings.model_copy(update={"log": f"file:{folder}"})) as client:
        replies = [
            client.score({"user": user, "item_ids": ["i1", "i2", "i3"], "request_id": f"r{n}"})[1]
            for n, user in enumerate(({"id": "u1"}, {"id": 42}, {"id": "u-qa-1"}, {}))
        ]
        assert client.metric("twinscore_log_up") == 1
    exposures = in_folder(folder)
    assert [exposure["user"] for exposure in exposures] == ["u1", "42", "u-qa-1"]
    assert [exposure["reason"] for exposure in exposures] == ["assigned", "override", "override"]
    for number, (exposure, reply) in enumerate(zip(exposures, replies, strict=False), 1):
        experiment = reply["experiment"]
        assert exposure["number"] == number
        assert exposure["request"] == reply["request_id"]
        assert [exposure[name] for name in ("key", "arm", "phase", "slot", "reason", "config")] == [
            experiment[name] for name in ("key", "arm", "phase", "slot", "reason", "config_version")
        ]
        assert exposure["served"] == experiment["arm"]
        assert exposure["model"] == f"{reply['model']['name']}@{reply['model']['version']}"
        assert exposure["items"] == 3
        assert exposure["predicted"] == pytest.approx(sum(reply["scores"]["ctr"]) / 3 * 1e6, abs=1)


def test_the_operation_is_documented(client: Client) -> None:
    """With the schema of an event, one or many."""
    document = client.get("/openapi.json").json()
    operation = document["paths"]["/events"]["post"]
    one, many = operation["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert many["items"] == one == {"$ref": "#/components/schemas/SentEvent"}
    event = document["components"]["schemas"]["SentEvent"]
    assert set(event["properties"]) == {"id", "user", "type", "time", "value", "request_id", "item_id"}
    assert {"string", "integer"} == {each["type"] for each in event["properties"]["time"]["anyOf"]}
    assert {"202", "422", "501", "503"} <= operation["responses"].keys()
