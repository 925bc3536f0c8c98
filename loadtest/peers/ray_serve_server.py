"""Ray Serve behind its own HAProxy, a replica a core, set for throughput as its guide to performance says.

Ray listens on the address of the machine even where 127.0.0.1 is asked for: `serving` gives it a network of its own.
"""

import os
import signal

import orjson
from starlette.requests import Request
from starlette.responses import Response

from loadtest.peers.scorer import Scorer, job

_HAPROXY = {
    "CONFIG_FILE_LOC": "haproxy.cfg",
    "SOCKET_PATH": "admin.sock",
    "METRICS_SOCKET_PATH": "metrics.sock",
    "SERVER_STATE_BASE": "state",
    "SERVER_STATE_FILE": "server-state",
}
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    **{f"RAY_SERVE_HAPROXY_{name}": str(job().spec.parent / file) for name, file in _HAPROXY.items()},
}
os.environ |= _SETTINGS  # read when ray is imported

import ray  # noqa: E402
from ray import serve  # noqa: E402


class Ranker:
    """Scores of one request."""

    def __init__(self) -> None:
        self._scorer = Scorer(job().spec)

    async def __call__(self, request: Request) -> Response:
        """Answer one request."""
        asked = orjson.loads(await request.body())
        return Response(self._scorer.reply(asked["user"]["id"], asked["item_ids"]), media_type="application/json")


def main() -> None:
    """Serve until terminated."""
    ray.init(
        num_cpus=job().processes,
        include_dashboard=False,
        _node_ip_address="127.0.0.1",
        _temp_dir=str(job().spec.parent),
        object_store_memory=100 * 2**20,
        configure_logging=False,
    )
    serve.start(http_options={"host": "127.0.0.1", "port": job().port}, logging_config={"enable_access_log": False})
    deployment = serve.deployment(num_replicas=job().processes, max_ongoing_requests=64)
    serve.run(deployment(Ranker).bind(), route_prefix="/score")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
