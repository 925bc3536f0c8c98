"""Triton, as PyTriton's package carries it: its Python backend, an instance a core; Open Inference Protocol in JSON.

The Python backend itself, not PyTriton's own proxy through it to another process, which is a hop more.
"""

import os
import shutil
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.peers.scorer import Scorer, job

_CONFIG = """\
backend: "python"
max_batch_size: 0
instance_group [{{ count: {instances}, kind: KIND_CPU }}]
input [
  {{ name: "user", data_type: TYPE_STRING, dims: [1] }},
  {{ name: "item_ids", data_type: TYPE_STRING, dims: [-1] }}
]
output [{outputs}]
"""


class TritonPythonModel:
    """What the backend looks for in model.py: one an instance, each in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Once an instance."""
        self._scorer = Scorer(job().spec)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer the requests that came together."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        import triton_python_backend_utils as backend  # exists inside of the server alone

        asked = {
            name: [value.decode() for value in backend.get_input_tensor_by_name(request, name).as_numpy()]
            for name in ("user", "item_ids")
        }
        scores = self._scorer.score(asked["user"][0], asked["item_ids"])
        tensors = [backend.Tensor(task, np.ascontiguousarray(column)) for task, column in scores.items()]
        return backend.InferenceResponse(output_tensors=tensors)


def main() -> None:
    """Write a model repository and become tritonserver."""
    folder = job().spec.parent / "triton"
    (folder / "models" / "score" / "1").mkdir(parents=True)
    outputs = ", ".join(f'{{ name: "{task}", data_type: TYPE_FP32, dims: [-1] }}' for task in Scorer(job().spec).tasks)
    config = _CONFIG.format(instances=job().processes, outputs=outputs)
    (folder / "models" / "score" / "config.pbtxt").write_text(config)
    (folder / "models" / "score" / "1" / "model.py").write_text(f"from {__spec__.name} import TritonPythonModel\n")
    server = _server()
    backends = _backends(server, folder / "backends")
    flags = {
        "model-repository": folder / "models",
        "backend-directory": backends,
        "http-address": "127.0.0.1",
        "http-port": job().port,
        "allow-grpc": "false",
        "allow-metrics": "false",
        "backend-config": f"python,shm-region-prefix-name=peer{os.getpid()}",
    }
    program = str(server / "bin" / "tritonserver")
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    os.execve(program, [program, *arguments], os.environ | _embedded(server))


def _embedded(server: Path) -> dict[str, str]:
    """Where the backend's process finds its libraries; the Python that it embeds is the first on the PATH."""
    libraries = server.parents[1] / "nvidia_pytriton.libs", sysconfig.get_config_var("LIBDIR")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {"LD_LIBRARY_PATH": ":".join(map(str, libraries)), "PATH": path}


def _server() -> Path:
    spec = find_spec("pytriton")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "tritonserver"


def _backends(server: Path, folder: Path) -> Path:
    """The Python backend, with the process that is built for this version of Python."""
    shutil.copytree(server / "backends", folder)
    stub = server / "python_backend_stubs" / f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(stub / "triton_python_backend_stub", folder / "python")
    return folder


if __name__ == "__main__":
    main()
