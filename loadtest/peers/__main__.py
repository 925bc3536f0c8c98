"""Other servers around the same graph and the same rows, each in an environment of its own under .run/peers-serving."""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from contract.bundle import latest_version
from contract.command import run
from contract.errors import ConfigError
from contract.local_redis import redis_url
from loadtest.floors import Source
from loadtest.peers.environments import ENVIRONMENTS, prepare
from loadtest.peers.registry import PEERS, Peer
from loadtest.peers.serving import serving


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Arguments of the command."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.peers", description=__doc__)
    parser.add_argument("--root", type=Path, default=ENVIRONMENTS, help="of the environments (default: %(default)s)")
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", help="make environments")
    install.add_argument("names", nargs="*", metavar="NAME", help=f"default: all of {', '.join(PEERS)}")
    serve = commands.add_parser("serve", help="run one until Ctrl-C")
    serve.add_argument("name", metavar="NAME", help=", ".join(PEERS))
    serve.add_argument("--processes", type=int, default=2, help="default: %(default)s")
    serve.add_argument("--bundles", type=Path, default=Path("bundles"), help="default: %(default)s")
    serve.add_argument("--model", default="ple", help="default: %(default)s")
    serve.add_argument("--redis", default=None, metavar="URL", help="default: REDIS_URL, else the private one")
    serve.add_argument("--prefix", default="twinscore", help="default: %(default)s")
    return parser.parse_args(arguments)


def main() -> int:
    """Install or serve."""
    args = parse()
    if args.command == "install":
        for peer in [_named(name) for name in args.names or PEERS]:
            print(f"{peer.name}: {prepare(peer, args.root)}")
        return 0
    peer = _named(args.name)
    bundle = latest_version(args.bundles, args.model)
    python = prepare(peer, args.root)
    with redis_url(args.redis) as url, serving(peer, python, Source(bundle, url, args.prefix), args.processes) as it:
        print(" ".join([f"{peer.name} on", *it.urls, *(["from", *it.enter] if it.enter else [])]), flush=True)
        while True:
            time.sleep(1)


def _named(name: str) -> Peer:
    if name not in PEERS:
        raise ConfigError(f"no peer '{name}'; there are {', '.join(PEERS)}")
    return PEERS[name]


if __name__ == "__main__":
    sys.exit(run(main))
