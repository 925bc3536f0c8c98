"""Serve: `python -m service`. HOST, PORT, REDIS_URL and TWINSCORE_* set it up; see service/settings.py.

Other commands, each with --help: `python -m service experiments`, `… outcomes`, `… readout`.

N processes serve one port (--workers or TWINSCORE_WORKERS; by default one a core up to 4, and one on a GPU).
Connections go to the worker that has the fewest, a worker that dies is replaced, and GET /metrics shows the sum of
all. Each worker holds its own models and caches of items and reads Redis by itself, so that memory grows by the worker
and a popular item is read once in each. One process can run engines on all cores as well (TWINSCORE_THREADS), but then
engines and event loop wait for one interpreter. With N workers each runs its engines on cores / N threads.
"""

import argparse
import socket
import sys
from collections.abc import Callable
from importlib import import_module

from contract.command import run
from contract.errors import ConfigError
from contract.local_redis import redis_url
from service.process import leave_on_signals, run_loop
from service.settings import MOST_WORKERS, Settings, read_settings

_COMMANDS = {  # word: module with `main(argv) -> int`, imported only then
    "experiments": "service.experiments.commands",
    "outcomes": "service.experiments.outcomes.command",
    "readout": "service.experiments.readout.command",
}


def main() -> int:
    """Serve, or run the command that the first argument names."""
    if len(sys.argv) > 1 and sys.argv[1] in _COMMANDS:
        command: Callable[[list[str]], int] = import_module(_COMMANDS[sys.argv[1]]).main
        return command(sys.argv[2:])
    return serve()


def serve() -> int:
    """Listen, start Redis where none is given, serve until Ctrl-C or SIGTERM."""
    settings = _settings()
    leave_on_signals()
    with _listen(settings) as listener, redis_url(settings.redis_url) as url:
        settings = settings.model_copy(update={"redis_url": url})
        if settings.processes > 1:
            from service.workers.parent import serve_workers as serve
        else:
            from service.server import serve_alone as serve  # only here: a parent needs neither models nor framework
        run_loop(serve(settings, listener, _address(listener)))
    return 0


def _settings() -> Settings:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m service", description=__doc__, formatter_class=form)
    parser.add_argument("--workers", type=_workers, metavar="N", help="processes; default: a core each, up to 4")
    asked = parser.parse_args().workers
    settings = read_settings() if asked is None else read_settings().model_copy(update={"workers": asked})
    if settings.device == "cuda" and settings.workers > 1 and not settings.share_gpu:
        raise ConfigError(
            f"{settings.workers} workers on TWINSCORE_DEVICE=cuda would each hold their models on the GPU and take "
            "turns on it; serve with 1, or set TWINSCORE_SHARE_GPU=true"
        )
    return settings


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_WORKERS:
        raise argparse.ArgumentTypeError(f"{text}: must be 1 to {MOST_WORKERS}")
    return int(text)


def _listen(settings: Settings) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[
            0
        ]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {reason.lower()}; set HOST or PORT"
        ) from None
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{shown}:{port}"


if __name__ == "__main__":
    sys.exit(run(main))
