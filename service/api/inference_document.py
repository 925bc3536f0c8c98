"""What /docs shows of /v2: statuses, bodies and headers that the handlers of raw bytes do not declare."""

from typing import Any

from service.api.inference_messages import INFER_EXAMPLE, REPLY_EXAMPLE, ErrorReply, InferReply
from service.api.tensors import HEADER
from service.scoring.admission import DEADLINE_HEADER

JSON, BYTES = "application/json", "application/octet-stream"
Responses = dict[int | str, dict[str, Any]]


def errors(*examples: tuple[int, str]) -> Responses:
    """Replies of these statuses, each with an example of its text."""
    return {status: {"model": ErrorReply, "content": {JSON: {"example": {"error": text}}}} for status, text in examples}


OTHER_ERRORS: Responses = {"4XX": {"model": ErrorReply, "description": "What is wrong"}}
UNKNOWN = (404, "model 'mmoe' is not loaded; loaded: dtn, ple")
LOADING = (503, "models are being loaded")
INFER_REPLIES: Responses = {
    200: {
        "model": InferReply,
        "description": f"Scores; where any are wanted as bytes, the JSON ends after {HEADER} bytes and they follow",
        "content": {JSON: {"example": REPLY_EXAMPLE}, BYTES: {"schema": {"type": "string", "format": "binary"}}},
    },
    **errors(
        (400, "input 'item_ids': shape [2, 3]; the model takes [-1, 2], -1 being the number of rows"),
        UNKNOWN,
        (413, "at most 1048576 bytes (TWINSCORE_MAX_BODY_BYTES)"),
        LOADING,
    ),
}
INFER_BODY = {
    "required": True,
    "content": {
        JSON: {"schema": {"$ref": "#/components/schemas/InferRequest"}, "example": INFER_EXAMPLE},
        BYTES: {"schema": {"type": "string", "format": "binary"}},
    },
}
INFER_PARAMETERS = [
    {
        "name": HEADER,
        "in": "header",
        "description": "Bytes of the JSON, where tensors follow it as bytes",
        "schema": {"type": "integer", "minimum": 0},
    },
    {
        "name": DEADLINE_HEADER,
        "in": "header",
        "description": "Milliseconds from its arrival after which the reply is of no use: 503 rather than late",
        "schema": {"type": "integer", "minimum": 1},
    },
]
