"""`python -m loadtest --users 8 --run-time 30s --p99 100`: load a running service, and fail past thresholds.

Exit status: 0 good, 1 past a threshold, 2 nothing to load (service, Redis, bundles), 130 after Ctrl-C.
"""

import argparse
import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit

from locust.util.timespan import parse_timespan

from contract.command import run as run_command
from contract.errors import ConfigError
from loadtest.catalogue import read_catalogue
from loadtest.headless import Run, run
from loadtest.payloads import Payloads
from loadtest.thresholds import Thresholds
from loadtest.users import ScoringUser
from loadtest.workload import add_arguments, bundles_folder, workload


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest", description=__doc__)
    add = parser.add_argument
    add("--host", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    add("--users", type=int, default=8, help="requests in flight at a time (default: %(default)s)")
    add("--run-time", default="30s", help="30s, 5m, 1h30m (default: %(default)s)")
    add("--p99", type=float, metavar="MS", help="fail where the 99th percentile is slower")
    add("--errors", type=float, metavar="RATE", default=0.01, help="fail where more go wrong (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", default=Path(".run/loadtest"), help="for the report (default: %(default)s)")
    add_arguments(parser)
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(parse_timespan(text))
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise ConfigError(f"--run-time {text}: write a time such as 30s, 5m or 1h30m")
    return seconds


def _connection(host: str) -> http.client.HTTPConnection:
    address = urlsplit(host)
    kinds: dict[str, type[http.client.HTTPConnection]]
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        return kinds[address.scheme](address.hostname or "", address.port, timeout=5)
    except (KeyError, ValueError, http.client.InvalidURL):
        raise ConfigError(f"--host {host}: write an address such as http://127.0.0.1:8000") from None


def _check_ready(host: str) -> None:
    """ConfigError where no service answers, or one that does not take traffic."""
    connection = _connection(host)
    try:
        connection.request("GET", "/readyz")
        reply = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(f"{host}: no service answers ({error}); start one with `make serve`") from None
    finally:
        connection.close()
    if reply.status != 200:
        raise ConfigError(f"{host}: /readyz answers {reply.status}, the service does not take traffic yet")


def _announce(args: argparse.Namespace, users: int, items: int, largest: int) -> None:
    print(f"{args.host}: {args.users} users for {args.run_time}, {users:,} user and {items:,} item ids", flush=True)
    if not users or not items:
        print(f"no {'users' if not users else 'items'} are stored: ids are made up", flush=True)
    if 0 < items < largest:
        print(f"larger requests are cut to {items} candidates: no more items exist", flush=True)


def _print(finished: Run, out: Path) -> None:
    print(finished.summary().table())
    counted = ScoringUser.seen
    served = {name: n for name, n in sorted(counted.items()) if name.startswith(("model", "degraded"))}
    print("; ".join(f"{name}: {count:,}" for name, count in served.items()) or "no reply was right")
    for line in finished.failures()[:5]:
        print(f"failure: {line}")
    print(f"report: {out / 'report.html'}", flush=True)


def main() -> int:
    """Check the set-up, run, report, judge."""
    args = _parser().parse_args()
    seconds, shape = _seconds(args.run_time), workload(args)
    if args.users < 1:
        raise ConfigError(f"--users {args.users}: must be at least 1")
    try:
        args.out.mkdir(parents=True, exist_ok=True)  # now, not when the run is over and its report would be lost
    except OSError as error:
        raise ConfigError(f"--out {args.out}: {error.strerror}") from None
    _check_ready(args.host)
    catalogue = read_catalogue(bundles_folder(args), args.redis, args.prefix, args.ids)
    ScoringUser.payloads = Payloads(catalogue, shape)
    _announce(args, len(catalogue.users), len(catalogue.items), shape.candidates.largest)
    finished = run(args.host, args.users, seconds)
    finished.write(args.out)
    _print(finished, args.out)
    if finished.interrupted:
        raise KeyboardInterrupt
    broken = Thresholds(args.p99, args.errors).broken(finished.summary())
    for line in broken:
        print(f"error: {line}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(run_command(main))
