"""Other servers around the same graph and the same rows, each in an environment of its own under .run/peers-serving."""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.bundle import latest_version
from contract.command import run
from contract.errors import ConfigError
from contract.local_redis import redis_url
from loadtest.floors import Source
from loadtest.peers.environments import ENVIRONMENTS, prepare
from loadtest.peers.lookup import FEAST, measure, table
from loadtest.peers.registry import PEERS, Peer
from loadtest.peers.serving import serving

_INSTALLED = {**PEERS, FEAST.name: FEAST}


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments of the command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers", description=__doc__)
    parser.add_argument("--root", type=Path, default=ENVIRONMENTS, help="of the environments (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="make environments")
    install.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(_INSTALLED)}")
    serve = commands.add_parser("serve", help="run one until Ctrl-C")
    serve.add_argument("name", metavar="NAME", help=", ".join(PEERS))
    serve.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    feast = commands.add_parser("feast", help="Feast's online look-up against one MGET of our packed rows")
    feast.add_argument("--seconds", type=float, default=5.0, help="a number of rows (default: %(default)s)")
    for command in (serve, feast):
        command.add_argument("--bundles", type=Path, default=Path("bundles"), help="default: %(default)s")
        command.add_argument("--model", default="ple", help="default: %(default)s")
        command.add_argument("--redis", default=None, metavar="URL", help="default: REDIS_URL, else the private one")
        command.add_argument("--prefix", default="twinscore", help="default: %(default)s")
    return parser.parse_args(arguments)


def main() -> int:
    """Install, serve or look up."""
    args = parse()
    if args.command == "install":
        for peer in [_named(name, _INSTALLED) for name in args.names or _INSTALLED]:
            print(f"{peer.name}: {prepare(peer, args.root)}")
        return 0
    peer = FEAST if args.command == "feast" else _named(args.name, PEERS)
    if args.command == "serve" and args.processes < 1:
        raise ConfigError(f"--processes {args.processes}: give 1 or more")
    bundle = latest_version(args.bundles, args.model)
    python = prepare(peer, args.root)
    with redis_url(args.redis) as url:
        source = Source(bundle, url, args.prefix)
        if peer is FEAST:
            print(table(measure(python, source, args.seconds)))
        else:
            _serve(peer, python, source, args.processes)
    return 0


def _serve(peer: Peer, python: Path, source: Source, processes: int) -> None:
    with serving(peer, python, source, processes) as served:
        entered = f", from within {' '.join(served.enter)}" if served.enter else ""
        print(f"{peer.name} on {', '.join(served.urls)}{entered}", flush=True)
        while True:
            time.sleep(1)


def _named(name: str, known: Mapping[str, Peer]) -> Peer:
    if name not in known:
        raise ConfigError(f"no peer '{name}'; there are {', '.join(known)}")
    return known[name]


if __name__ == "__main__":
    sys.exit(run(main))
