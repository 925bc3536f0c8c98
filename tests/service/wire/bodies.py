"""One request in every form, and a reply read back from each."""

import json
from typing import Any

import httpx
import numpy as np
import ormsgpack
import pyarrow as pa
from numpy.typing import NDArray

from tests.service.conftest import Client

JSON, MSGPACK, ARROW = "application/json", "application/msgpack", "application/vnd.apache.arrow.stream"
TYPES = (JSON, MSGPACK, ARROW)
Scores = dict[str, NDArray[np.float32]]


def post(client: Client, body: bytes, content_type: str | None, accept: str | None = None) -> httpx.Response:
    """POST /score with these headers; httpx itself would accept anything."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    headers |= {} if accept is None else {"Accept": accept}
    response: httpx.Response = client.run(client.http.post("/score", content=body, headers=headers))
    return response


def written(body: dict[str, Any], form: str) -> bytes:
    """A request in a form; for Arrow every item must have the same features."""
    if form == JSON:
        return json.dumps(body).encode()
    if form == MSGPACK:
        return ormsgpack.packb(body)
    rest = dict(body)
    items = rest.pop("items", None)
    columns = {"item_id": rest.pop("item_ids", None) or [item["id"] for item in items]}
    for name in items[0].get("features", {}) if items else ():
        columns[name] = [item["features"][name] for item in items]
    return stream(pa.record_batch(columns), rest)


def stream(batch: pa.RecordBatch, rest: object = None, **options: Any) -> bytes:
    """An Arrow stream of one batch, with the rest of the request in its metadata."""
    if rest is not None:
        batch = batch.replace_schema_metadata({"twinscore": json.dumps(rest)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def read(response: httpx.Response) -> tuple[dict[str, Any], Scores]:
    """A reply without its scores, and the scores as float32."""
    form = response.headers["content-type"]
    if form == ARROW:
        table = pa.ipc.open_stream(response.content).read_all()
        scores = {name: table[name].to_numpy() for name in table.column_names[1:]}
        assert {column.dtype for column in scores.values()} == {np.dtype(np.float32)}
        return json.loads(table.schema.metadata[b"twinscore"]) | {"item_ids": table["item_id"].to_pylist()}, scores
    content: dict[str, Any] = json.loads(response.content) if form == JSON else ormsgpack.unpackb(response.content)
    return content, {task: np.array(column, np.float32) for task, column in content.pop("scores").items()}
