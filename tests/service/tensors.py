"""A service behind a socket, and tensors for it as people and as tritonclient write them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tritonclient.http as triton
import uvicorn

from contract.bundle import Arrays
from service.app import create_app
from service.lifecycle import Service
from service.settings import Settings


@contextmanager
def listening(settings: Settings) -> Iterator[tuple[str, Service]]:
    """A service of these settings behind a socket, loaded."""
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", http="httptools", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not (server.started and app.state.service.loaded.is_set()):
            assert thread.is_alive()
            threading.Event().wait(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"127.0.0.1:{port}", app.state.service
    finally:
        server.should_exit = True
        thread.join()


def as_triton(arrays: Arrays, binary: bool = True) -> list[triton.InferInput]:
    """Arrays as tritonclient sends them."""
    names = {"int32": "INT32", "int64": "INT64", "float32": "FP32"}
    inputs = [triton.InferInput(name, list(array.shape), names[str(array.dtype)]) for name, array in arrays.items()]
    for tensor, array in zip(inputs, arrays.values(), strict=True):
        tensor.set_data_from_numpy(array, binary_data=binary)
    return inputs


def as_json(arrays: Arrays) -> dict[str, Any]:
    """Arrays as a person would write them."""
    kinds = {name: "FP32" if "dense" in name else "INT32" for name in arrays}
    return {
        "inputs": [
            {"name": name, "shape": list(array.shape), "datatype": kinds[name], "data": array.tolist()}
            for name, array in arrays.items()
        ]
    }
