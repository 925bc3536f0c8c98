"""Requests and replies of the Open Inference Protocol v2. Keys that are not named here are tolerated, as it asks."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr
from pydantic.config import JsonDict

INFER_EXAMPLE: dict[str, Any] = {
    "id": "42",
    "inputs": [
        {"name": "request_ids", "shape": [1, 3], "datatype": "INT32", "data": [7, 1, 0]},
        {"name": "request_dense", "shape": [1, 1], "datatype": "FP32", "data": [0.5]},
        {"name": "item_ids", "shape": [2, 2], "datatype": "INT32", "data": [[12, 3], [15, 3]]},
        {"name": "item_dense", "shape": [2, 1], "datatype": "FP32", "data": [9.5, 12.0]},
        {"name": "request_of_item", "shape": [2], "datatype": "INT32", "data": [0, 0]},
    ],
    "outputs": [{"name": "ctr"}],
}
REPLY_EXAMPLE: dict[str, Any] = {
    "model_name": "dtn",
    "model_version": "20261122T120000-1a2b3c4d",
    "id": "42",
    "outputs": [{"name": "ctr", "datatype": "FP32", "shape": [2], "data": [0.031, 0.027]}],
}
METADATA_EXAMPLE: JsonDict = {
    "name": "dtn",
    "versions": ["20261122T120000-1a2b3c4d"],
    "platform": "onnxruntime_onnx",
    "inputs": [
        {"name": "request_ids", "datatype": "INT32", "shape": [-1, 3]},
        {"name": "request_dense", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "item_ids", "datatype": "INT32", "shape": [-1, 2]},
        {"name": "item_dense", "datatype": "FP32", "shape": [-1, 1]},
        {"name": "request_of_item", "datatype": "INT32", "shape": [-1]},
    ],
    "outputs": [{"name": name, "datatype": "FP32", "shape": [-1]} for name in ("ctr", "cvr")],
}


class InputParameters(BaseModel):
    """Parameters of an input that change how it is read."""

    binary_data_size: StrictInt | None = Field(default=None, ge=0, description="bytes of it after the JSON")
    shared_memory_region: Any = None


class InferInput(BaseModel):
    """An input tensor: its values are `data`, or bytes after the JSON."""

    name: StrictStr
    shape: Annotated[list[StrictInt], Field(fail_fast=True)]
    datatype: StrictStr
    parameters: InputParameters = InputParameters()
    data: list[Any] | None = Field(default=None, description="row by row; flat, or nested as the shape says")


class OutputParameters(BaseModel):
    """Parameters of an output that change how it is written."""

    binary_data: StrictBool | None = Field(default=None, description="as bytes after the JSON; null: as for all")
    classification: Any = None
    shared_memory_region: Any = None


class InferOutput(BaseModel):
    """A wanted output."""

    name: StrictStr
    parameters: OutputParameters = OutputParameters()


class RequestParameters(BaseModel):
    """Parameters of a request that change its reply."""

    binary_data_output: StrictBool = Field(default=False, description="all outputs as bytes after the JSON")


class InferRequest(BaseModel):
    """Tensors to score."""

    id: StrictStr | None = None
    inputs: list[InferInput] = Field(fail_fast=True)
    outputs: list[InferOutput] = Field(default=[], fail_fast=True, description="none: all")
    parameters: RequestParameters = RequestParameters()


class OutputTensor(BaseModel):
    """Scores of one task, one a candidate."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float | None] | None = Field(default=None, description="absent where the bytes follow the JSON")
    parameters: dict[str, int] | None = Field(default=None, description="binary_data_size, where they do")


class InferReply(BaseModel):
    """Scores as tensors."""

    model_name: str
    model_version: str
    id: str | None = Field(default=None, description="the request's, if it had one")
    outputs: list[OutputTensor]


class TensorMetadata(BaseModel):
    """An input or output of a model; -1 is any number of rows."""

    name: str
    datatype: str
    shape: list[int]


class ModelMetadata(BaseModel):
    """What a model takes and gives."""

    model_config = ConfigDict(json_schema_extra={"example": METADATA_EXAMPLE})

    name: str
    versions: list[str] = Field(description="all that are loaded; the last is taken where none is named")
    platform: str
    inputs: list[TensorMetadata]
    outputs: list[TensorMetadata]


class ServerMetadata(BaseModel):
    """What this server is."""

    name: str
    version: str
    extensions: list[str]


class ErrorReply(BaseModel):
    """What is wrong."""

    error: str
