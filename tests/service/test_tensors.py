"""Tensors of the Open Inference Protocol: what fits becomes five arrays, all else one line that says what does not."""

import json
import re
from collections.abc import Callable
from itertools import chain
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from contract.bundle import INPUTS, Arrays
from contract.schema import Field, Schema, Side, Task
from service.api.inference_messages import InferRequest
from service.api.tensors import decode, encode, input_specs, split_body, wanted_outputs
from service.errors import ServiceProblem
from service.scoring.inputs import from_arrays
from tests.service.bundles import SCHEMA, TASKS, draw_inputs
from tests.service.tensors import as_json

ROWS = 300
SPECS = input_specs(SCHEMA)
NAMES = {"INT32": np.int32, "INT64": np.int64, "FP32": np.float32}
FUZZ = settings(max_examples=200, deadline=None)


def read(body: dict[str, Any], raw: bytes = b"", schema: Schema = SCHEMA) -> Arrays:
    """The arrays of a request."""
    ask = InferRequest.model_validate_json(json.dumps(body))
    wanted_outputs(ask.outputs, [task.name for task in TASKS], ask.parameters.binary_data_output)
    return decode(ask.inputs, memoryview(raw), input_specs(schema), ROWS)


def change(place: int, **keys: object) -> Callable[[dict[str, Any]], None]:
    """Set keys of an input; None removes one."""

    def apply(body: dict[str, Any]) -> None:
        tensor = body["inputs"][place]
        tensor.update(keys)
        for key in [key for key, value in keys.items() if value is None]:
            del tensor[key]

    return apply


def value(place: int, to: object, row: int = 1) -> Callable[[dict[str, Any]], None]:
    """Set one value of an input's data: a row's first, or the row where there is but one value."""

    def apply(body: dict[str, Any]) -> None:
        data = body["inputs"][place]["data"]
        if isinstance(data[row], list):
            data[row][0] = to
        else:
            data[row] = to

    return apply


def drop(place: int) -> Callable[[dict[str, Any]], None]:
    """Leave an input out."""
    return lambda body: body["inputs"].pop(place)


def ask_for(*outputs: object) -> Callable[[dict[str, Any]], None]:
    """Ask for these outputs."""
    return lambda body: body.update(outputs=list(outputs))


RI, RD, II, ID, OWNER = range(5)
REGION = {"shared_memory_region": "r"}
ERRORS: list[tuple[Callable[[dict[str, Any]], None], str]] = [
    (change(RI, name="ids"), r"input 'ids': unknown; the model takes request_ids, request_dense, item_ids, .*"),
    (drop(II), r"input 'item_ids': missing; the model takes INT32 \[-1, 2\]"),
    (drop(OWNER), r"input 'request_of_item': missing; it says to which of 2 requests each candidate belongs"),
    (change(RD, name="request_ids", datatype="INT32"), r"input 'request_ids': sent twice"),
    (change(RD, datatype="FP64"), r"input 'request_dense': datatype FP64; the model takes FP32"),
    (change(RI, datatype="FP32"), r"input 'request_ids': datatype FP32; the model takes INT32 or INT64"),
    (change(II, shape=[4, 3]), r"input 'item_ids': shape \[4, 3\]; the model takes \[-1, 2\], -1 being .*"),
    (change(OWNER, shape=[4, 1]), r"input 'request_of_item': shape \[4, 1\]; the model takes \[-1\], .*"),
    (change(OWNER, shape=[]), r"input 'request_of_item': shape \[\]; .*"),
    (change(OWNER, shape=[0], data=[]), r"input 'request_of_item': 0 rows; 1 to 300 .* are taken"),
    (change(OWNER, shape=[301]), r"input 'request_of_item': 301 rows; 1 to 300 \(TWINSCORE_MAX_BATCH_ROWS\) are taken"),
    (change(RI, shape=[-2, 5]), r"input 'request_ids': -2 rows; .*"),
    (change(OWNER, data=[0] * 5), r"input 'request_of_item': 5 values of data; its shape has 4"),
    (change(II, data=[0] * 7), r"input 'item_ids': 7 values of data; its shape has 8"),
    (change(II, data=[[0, 0]] * 3), r"input 'item_ids': 3 rows of data; shape \[4, 2\] has 4"),
    (change(II, data=[[0, 0]] * 3 + [[0]]), r"input 'item_ids': row 3 of its data is not a list of 2 values"),
    (change(II, data=[[0, 0], 5, [0, 0], 0]), r"input 'item_ids': row 1 of its data is not a list of 2 values"),
    (change(II, data=[[0, 0], [[1], 0], [0, 0], [0, 0]]), r"input 'item_ids': data\[2\] is \[1\], not a whole number"),
    (value(OWNER, "0"), r"input 'request_of_item': data\[1\] is '0', not a whole number"),
    (value(OWNER, True), r"input 'request_of_item': data\[1\] is True, not a whole number"),
    (value(OWNER, 0.0), r"input 'request_of_item': data\[1\] is 0\.0, not a whole number"),
    (value(RD, None), r"input 'request_dense': data\[2\] is None, not a number"),
    (value(ID, float("nan")), r"input 'item_dense': value 2 is nan, not a finite FP32"),
    (value(ID, float("-inf")), r"input 'item_dense': value 2 is -inf, not a finite FP32"),
    (value(ID, 1e39), r"input 'item_dense': value 2 is 1e\+39, not a finite FP32"),
    (value(ID, 10**400), r"input 'item_dense': a value of its data is outside FP32"),
    (value(II, 2**31), r"input 'item_ids': value 2 is 2147483648, not an INT32"),
    (value(II, -(2**31) - 1), r"input 'item_ids': value 2 is -2147483649, not an INT32"),
    (value(II, 2**63), r"input 'item_ids': a value of its data is outside INT32"),
    (value(OWNER, 2), r"input 'request_of_item': value 1 is 2, outside \[0, 2\), the requests sent"),
    (value(OWNER, -1), r"input 'request_of_item': value 1 is -1, outside \[0, 2\), the requests sent"),
    (
        change(OWNER, shape=[3], data=[0, 0, 1]),
        r"inputs with different .*: item_ids 4, item_dense 4, request_of_item 3",
    ),
    (change(RI, shape=[3, 5], data=[0] * 15), r"inputs with different .*: request_ids 3, request_dense 2"),
    (change(OWNER, parameters={"binary_data_size": 0}), r"input 'request_of_item': send .*, exactly one of the two"),
    (change(OWNER, data=None), r"input 'request_of_item': send 'data' or the parameter 'binary_data_size', .*"),
    (change(OWNER, data=None, parameters=REGION), r"input 'request_of_item': shared memory is not offered; .*"),
    (
        change(OWNER, data=None, parameters={"binary_data_size": 15}),
        r"input 'request_of_item': binary_data_size 15; shape \[4\] of INT32 is 16 bytes",
    ),
    (
        change(OWNER, data=None, parameters={"binary_data_size": 16}),
        r"input 'request_of_item': 16 bytes announced, 0 found; is Inference-Header-Content-Length .*",
    ),
    (ask_for({"name": "cvr"}), r"output 'cvr': unknown; the model gives ctr, ctcvr"),
    (ask_for({"name": "ctr"}, {"name": "ctr"}), r"output 'ctr': asked for twice"),
    (ask_for({"name": "ctr", "parameters": {"classification": 3}}), r"output 'ctr': neither .* nor classification .*"),
    (ask_for({"name": "ctr", "parameters": REGION}), r"output 'ctr': neither shared memory nor .*"),
]


@pytest.mark.parametrize(("spoil", "expected"), ERRORS, ids=[expected[:60] for _, expected in ERRORS])
def test_what_does_not_fit_is_said_in_one_line(spoil: Callable[[dict[str, Any]], None], expected: str) -> None:
    body = as_json(draw_inputs(SCHEMA, 2, 4, seed=5))
    read(body)
    spoil(body)
    with pytest.raises(ServiceProblem) as caught:
        read(body)
    assert re.fullmatch(expected, caught.value.detail), caught.value.detail


def test_bytes_left_over_are_refused() -> None:
    with pytest.raises(
        ServiceProblem, match=r"^3 bytes follow the JSON, but the inputs' binary_data_size add up to 0$"
    ):
        read(as_json(draw_inputs(SCHEMA, 2, 4)), raw=b"abc")


@pytest.mark.parametrize("header", ["", "-1", "+1", "1.0", "٣", "9" * 5000, "3"])
def test_a_header_that_is_no_length_within_the_body(header: str) -> None:
    with pytest.raises(ServiceProblem, match=r"^Inference-Header-Content-Length: "):
        split_body(b"{}", header)


def test_a_model_without_candidate_columns_counts_owners() -> None:
    schema = Schema(fields=(Field(name="gender", side=Side.USER, size=3),), tasks=(Task(name="ctr", label="click"),))
    body = as_json({"request_ids": np.ones((2, 1), np.int32), "request_of_item": np.array([0, 1, 1], np.int32)})
    arrays = read(body, schema=schema)
    assert {name: array.shape for name, array in arrays.items()} == {
        "request_ids": (2, 1), "request_dense": (2, 0), "item_ids": (3, 0), "item_dense": (3, 0),
        "request_of_item": (3,),
    }  # fmt: skip
    assert len(from_arrays(arrays)) == 3
    with pytest.raises(ServiceProblem, match=r"^input 'request_of_item': missing"):
        read({"inputs": body["inputs"][:1]}, schema=schema)


def test_a_model_without_request_columns_has_one_request() -> None:
    schema = Schema(fields=(Field(name="brand", side=Side.ITEM, size=3),), tasks=(Task(name="ctr", label="click"),))
    arrays = read(as_json({"item_ids": np.ones((3, 1), np.int32)}), schema=schema)
    assert [arrays[name].shape for name in INPUTS] == [(1, 0), (1, 0), (3, 1), (3, 0), (3,)]


def test_outputs_that_do_not_say_come_as_all_do() -> None:
    outputs = [{"name": "ctcvr"}, {"name": "ctr", "parameters": {"binary_data": False}}]
    asked = InferRequest.model_validate({"inputs": [], "outputs": outputs}).outputs
    assert list(wanted_outputs(asked, ["ctr", "ctcvr"], True).items()) == [("ctcvr", True), ("ctr", False)]
    assert list(wanted_outputs([], ["ctr", "ctcvr"], True).items()) == [("ctr", True), ("ctcvr", True)]


CASES = st.builds(draw_inputs, st.just(SCHEMA), st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
FORMS = st.lists(st.sampled_from(["INT32 bytes", "INT64 bytes", "flat", "nested"]), min_size=5, max_size=5)


@FUZZ
@given(arrays=CASES, forms=FORMS, order=st.permutations(INPUTS))
def test_every_form_gives_the_same_arrays(arrays: Arrays, forms: list[str], order: list[str]) -> None:
    body = as_json({name: arrays[name] for name in order})
    raw = []
    for tensor, form in zip(body["inputs"], forms, strict=True):
        array = arrays[tensor["name"]]
        if form == "flat":
            tensor["data"] = array.ravel().tolist()
        elif form.endswith("bytes"):
            tensor["datatype"] = "FP32" if array.dtype == np.float32 else form.split()[0]
            raw.append(array.astype(NAMES[tensor["datatype"]]).tobytes())
            tensor["parameters"] = {"binary_data_size": len(raw[-1]), "other": [1]}
            del tensor["data"]
    text = json.dumps(body).encode()
    got_text, rest = split_body(b"".join((text, *raw)), str(len(text)))
    got = decode(InferRequest.model_validate_json(got_text).inputs, rest, SPECS, ROWS)
    assert list(got) == list(INPUTS)
    for name, array in arrays.items():
        assert (got[name].dtype, got[name].flags.aligned) == (array.dtype, True)
        np.testing.assert_array_equal(got[name], array)


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3))
DATA = st.recursive(VALUES | st.integers(0, 1), lambda inner: st.lists(inner, max_size=5), max_leaves=9)
TENSOR = st.fixed_dictionaries(
    {
        "name": st.sampled_from([*INPUTS, "x"]),
        "shape": st.lists(st.sampled_from([0, 1, 2, 5, -1, 2**70]), max_size=3),
        "datatype": st.sampled_from([*NAMES, "BYTES"]),
    },
    optional={
        "data": st.lists(DATA, max_size=10),
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": st.integers(-1, 99) | VALUES}),
    },
)
LIKELY = CASES.map(as_json).map(lambda body: body["inputs"])


@FUZZ
@given(
    tensors=st.tuples(LIKELY, st.lists(TENSOR, max_size=2)).map(lambda both: list(chain(*both))[::-1])
    | st.lists(TENSOR, max_size=6),
    raw=st.binary(max_size=99),
    header=st.none() | st.integers(-3, 3) | st.text(max_size=5),
)
def test_whatever_arrives_is_five_arrays_or_one_line(
    tensors: list[dict[str, Any]], raw: bytes, header: int | str | None
) -> None:
    text = json.dumps({"inputs": tensors}).encode()
    length = str(len(text) + header) if isinstance(header, int) else header
    try:
        text, rest = split_body(text + (b"" if header is None else raw), length)
        arrays = decode(InferRequest.model_validate_json(text).inputs, rest, SPECS, ROWS)
    except (ValidationError, ServiceProblem):
        return
    requests, candidates = len(arrays["request_ids"]), len(arrays["item_ids"])
    for name, spec in SPECS.items():
        rows = requests if spec.side == "request" else candidates
        assert arrays[name].shape == (rows, *spec.shape[1:])
        assert arrays[name].dtype == np.dtype(NAMES[spec.datatype])
    assert arrays["request_of_item"].min() >= 0
    assert arrays["request_of_item"].max() < requests


def test_scores_are_written_exactly() -> None:
    column = np.random.default_rng(1).random(50, np.float32)
    scores = {"ctr": column, "ctcvr": column[::-1]}
    text, length = encode(scores, {"ctcvr": False, "ctr": False}, {"id": "1"})
    assert length is None
    outputs = json.loads(text)["outputs"]
    np.testing.assert_array_equal(np.array(outputs[0]["data"], np.float32), column[::-1])
    body, length = encode(scores, {"ctr": True, "ctcvr": False}, {})
    assert length is not None
    assert json.loads(body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 200}
    np.testing.assert_array_equal(np.frombuffer(body[length:], "<f4"), column)
