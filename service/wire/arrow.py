"""An Arrow IPC stream of one record batch: a row a candidate.

Request: a column `item_id` (text or integers), and a column for each item or cross field that comes with the request:
numbers, booleans, text, or lists of these; a null takes the field's default. The rest of a ScoreRequest (`user`,
`context`, `request_id`, `arm`) is JSON in the schema's metadata under the key `twinscore`.

Reply: `item_id`, and a float32 column for each task; the rest of a ScoreReply is JSON under the same key.

What a body takes in memory is bounded by its own length: compressed, dictionary-encoded and overlapping buffers are
refused before their values are read.
"""

import struct
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from pydantic import ValidationError

from service.errors import INVALID_ARROW, INVALID_REQUEST, ServiceProblem, invalid_body
from service.messages import ID_MESSAGE, Envelope, ScoreRequest

KEY = b"twinscore"
ITEM_ID = "item_id"
_HEADER, _COMPRESSION = 2, 3  # fields of Message and of RecordBatch in Arrow's flatbuffers


def read_arrow(body: bytes) -> ScoreRequest:
    """A request in Arrow; a problem where it is none or does not fit."""
    batch = _read_batch(body)
    envelope = _read_envelope((batch.schema.metadata or {}).get(KEY, b"{}"))
    columns = {name: _values(name, column) for name, column in zip(batch.schema.names, batch.columns, strict=True)}
    ids = columns.pop(ITEM_ID)
    _check_ids(ids)
    given = {name: getattr(envelope, name) for name in Envelope.model_fields}
    if not columns:
        return ScoreRequest.model_construct(**given, item_ids=ids)
    rows = zip(*columns.values(), strict=True)
    items: list[Any] = [
        {"id": i, "features": dict(zip(columns, row, strict=True))} for i, row in zip(ids, rows, strict=True)
    ]
    return ScoreRequest.model_construct(**given, items=items)


def write_arrow(content: dict[str, Any]) -> bytes:
    """A reply in Arrow."""
    content = dict(content)
    ids, scores = content.pop("item_ids"), content.pop("scores")
    if not all(type(i) is int for i in ids):
        ids = [str(i) for i in ids]
    columns = [pa.array(ids), *(pa.array(np.ascontiguousarray(column)) for column in scores.values())]
    batch = pa.record_batch(columns, [ITEM_ID, *scores], metadata={KEY: orjson.dumps(content)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def _read_batch(body: bytes) -> Any:
    """The one record batch of a stream, every buffer and offset of it checked."""
    try:
        messages = pa.ipc.MessageReader.open_stream(body)
        schema = pa.ipc.read_schema(_of_type("schema", messages.read_next_message()))
        _check_schema(schema)
        message = _of_type("record batch", messages.read_next_message())
        if _is_compressed(bytes(message.metadata)):
            raise ServiceProblem(INVALID_REQUEST, "the record batch is compressed; send it as it is")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        more = next(iter(messages), None)
    except StopIteration:
        raise ServiceProblem(INVALID_ARROW, "Invalid Arrow stream: it ends before its record batch") from None
    except (pa.ArrowException, OSError, UnicodeDecodeError, struct.error) as error:
        raise ServiceProblem(INVALID_ARROW, f"Invalid Arrow stream: {' '.join(str(error).split())}") from None
    if more is not None:
        raise ServiceProblem(INVALID_REQUEST, "the stream has several record batches; send one: Table.combine_chunks()")
    cells = batch.num_rows * batch.num_columns
    if batch.nbytes > len(body) or cells > 8 * len(body):  # a value takes a bit at least, unless all are null
        raise ServiceProblem(INVALID_ARROW, "Invalid Arrow stream: it holds more than its length")
    return batch


def _of_type(wanted: str, message: Any) -> Any:
    """The message, if it is one of these; pyarrow would read any as what it is asked for, and abort."""
    if message.type != wanted:
        raise ServiceProblem(INVALID_ARROW, f"Invalid Arrow stream: a {message.type} where its {wanted} should be")
    return message


def _check_schema(schema: Any) -> None:
    """Refuse what has no item ids, and what could grow beyond the body when it is read."""
    names = schema.names  # text that is not UTF-8 raises here
    if names.count(ITEM_ID) != 1 or len(set(names)) != len(names):
        raise ServiceProblem(INVALID_REQUEST, f"columns: one '{ITEM_ID}', and no name twice")
    for field in schema:
        kind = field.type.value_type if _is_list(field.type) else field.type
        if not (_is_number(kind) or _is_text(kind) or pa.types.is_null(kind)):
            raise ServiceProblem(
                INVALID_REQUEST,
                f"column '{field.name[:64]}' is {str(field.type)[:64]}; send numbers, booleans, text or lists of these",
            )


def _is_compressed(metadata: bytes) -> bool:
    """Whether a RecordBatch message names a codec; pyarrow tells only by unpacking. The flatbuffer is verified."""
    root: int = struct.unpack_from("<I", metadata, 0)[0]
    reference = root + _slot(metadata, root, _HEADER)
    header = reference + struct.unpack_from("<I", metadata, reference)[0]
    return _slot(metadata, header, _COMPRESSION) != 0


def _slot(metadata: bytes, table: int, field: int) -> int:
    """Where a field lies from its table's start; 0 where it is absent."""
    vtable = table - struct.unpack_from("<i", metadata, table)[0]
    place = 4 + 2 * field
    size: int = struct.unpack_from("<H", metadata, vtable)[0]
    return int(struct.unpack_from("<H", metadata, vtable + place)[0]) if place < size else 0


def _is_list(kind: Any) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_number(kind: Any) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind))


def _is_text(kind: Any) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _values(name: str, column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        raise ServiceProblem(INVALID_ARROW, f"Invalid Arrow stream: column '{name[:64]}' is not UTF-8") from None
    return values


def _read_envelope(text: bytes) -> Envelope:
    try:
        return Envelope.model_validate_json(text)
    except ValidationError as error:
        problem = invalid_body(error)
        raise ServiceProblem(problem.kind, f"metadata '{KEY.decode()}': {problem.detail}") from None


def _check_ids(ids: list[Any]) -> None:
    """What pydantic checks of the ids in JSON."""
    if not ids:
        raise ServiceProblem(INVALID_REQUEST, f"column '{ITEM_ID}' has no row; send at least one candidate")
    for i, value in enumerate(ids):
        fits = value != "" if type(value) is str else type(value) is int and value < 2**63
        if not fits:
            raise ServiceProblem(INVALID_REQUEST, f"column '{ITEM_ID}', row {i}: {ID_MESSAGE}")
