"""BentoML: a worker process a core, the reply as bytes that orjson wrote.

The handler is a coroutine: a plain function would pass through a thread pool, which costs more than it brings to a
worker of one thread. Not `batchable`: that needs inputs of one shape, and gains nothing on a CPU at hundreds of rows.
"""

import os
import sys
from typing import Any

import bentoml
from starlette.responses import Response

from loadtest.peers.scorer import Scorer, job


@bentoml.service(workers=job().processes, logging={"access": {"enabled": False}}, metrics={"enabled": False})
class Ranker:
    """Scores of one request."""

    def __init__(self) -> None:
        self._scorer = Scorer(job().spec)

    @bentoml.api
    async def score(self, user: dict[str, str], item_ids: list[str]) -> Any:  # a Response, which it cannot describe
        """Answer one request."""
        return Response(self._scorer.reply(user["id"], item_ids), media_type="application/json")


def main() -> None:
    """Become `bentoml serve`."""
    os.environ["BENTOML_DO_NOT_TRACK"] = "True"
    program = [sys.executable, "-m", "bentoml", "serve", f"{__spec__.name}:Ranker"]
    os.execv(sys.executable, [*program, "--host", "127.0.0.1", "--port", str(job().port)])


if __name__ == "__main__":
    main()
