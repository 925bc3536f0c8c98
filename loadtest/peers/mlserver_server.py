"""MLServer: a custom runtime in as many parallel workers as cores; Open Inference Protocol in JSON.

No adaptive batching: it needs tensors of one shape, and gains nothing on a CPU at hundreds of rows.
"""

import json
import os
import socket
import sys
from pathlib import Path

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, Parameters, RequestInput, ResponseOutput

from loadtest.peers.scorer import Scorer, job


class Ranker(MLModel):  # type: ignore[misc]  # its package is absent where this is checked
    """Scores of one request."""

    async def load(self) -> bool:
        """Once a worker."""
        self._scorer = Scorer(job().spec)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one request."""
        asked = {tensor.name: _strings(tensor) for tensor in payload.inputs}
        scores = self._scorer.score(asked["user"][0], asked["item_ids"])
        outputs = [
            ResponseOutput(name=task, shape=[len(column)], datatype="FP32", data=column.tolist())
            for task, column in scores.items()
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs, parameters=Parameters())


def _strings(tensor: RequestInput) -> list[str]:
    return [value if isinstance(value, str) else value.decode() for value in tensor.data]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    """Write the settings beside the spec and become `mlserver start`."""
    folder = job().spec.parent / "mlserver"
    (folder / "score").mkdir(parents=True)
    settings = {
        "host": "127.0.0.1",
        "http_port": job().port,
        "grpc_port": _free_port(),
        "metrics_endpoint": None,
        "parallel_workers": job().processes,
        "environments_dir": str(folder / "environments"),
        "debug": False,
        "gzip_enabled": False,
    }
    _write(folder / "settings.json", settings)
    _write(folder / "score" / "model-settings.json", {"name": "score", "implementation": f"{__spec__.name}.Ranker"})
    program = str(Path(sys.executable).with_name("mlserver"))
    os.execv(program, [program, "start", str(folder)])


def _write(path: Path, settings: dict[str, object]) -> None:
    path.write_text(json.dumps(settings), encoding="utf-8")


if __name__ == "__main__":
    main()
