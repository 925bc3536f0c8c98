"""LitServe: an inference worker a core, queues of ZeroMQ, the reply as bytes that orjson wrote.

No `max_batch_size`: a request holds hundreds of rows already, and several at once in one product gain nothing on a CPU.
"""

from typing import Any

import litserve
from fastapi import Response

from loadtest.peers.scorer import Scorer, job


class Ranker(litserve.LitAPI):  # type: ignore[misc]  # its package is absent where this is checked
    """Scores of one request."""

    def setup(self, device: str) -> None:
        """Once a worker."""
        self._scorer = Scorer(job().spec)

    def decode_request(self, request: dict[str, Any]) -> dict[str, Any]:
        """The body as it came."""
        return request

    def predict(self, asked: dict[str, Any]) -> bytes:
        """The body of the reply."""
        return self._scorer.reply(asked["user"]["id"], asked["item_ids"])

    def encode_response(self, reply: bytes) -> Response:
        """The bytes as they are."""
        return Response(reply, media_type="application/json")


def main() -> None:
    """Serve until terminated."""
    ranker = Ranker(api_path="/score")
    server = litserve.LitServer(ranker, accelerator="cpu", workers_per_device=job().processes, fast_queue=True)
    server.run("127.0.0.1", job().port, log_level="warning", generate_client_file=False)


if __name__ == "__main__":
    main()
