"""`python -m loadtest.bench [table|open|stages|soak|sink]`: the service against floors, peers and variants of itself.

    table   requests/s, latency, CPU and memory of each, in interleaved rounds; medians
    open    latency against offered load, arrivals that wait for nobody; a table and a plot
    stages  where the time of one request goes
    soak    minutes of steady load: memory and p99
    sink    what the log of exposures costs: none, a Redis, a Redis that has stopped

Starts services of its own that serve one model to everybody, with the bundles and the Redis of `make serve`. What was
measured is written as Markdown, with all single figures as JSON beside it.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from contract.bundle import latest_version, read_bundle
from contract.command import run
from contract.errors import ConfigError
from contract.files import write_text
from contract.local_redis import redis_url
from loadtest.bench import budget, climb, sink, soak, table
from loadtest.bench.bodies import Bodies
from loadtest.bench.cells import Meter, Rounds
from loadtest.bench.facts import facts
from loadtest.bench.servers import Contestant, Variant, ours, parse_variant, peer
from loadtest.catalogue import read_catalogue
from loadtest.floors import Source, floors
from loadtest.peers.registry import PEERS


@dataclass(frozen=True)
class Defaults:
    """What differs between the parts."""

    sizes: tuple[int, ...]
    seconds: float
    rounds: int
    out: Path


PARTS = {
    "table": Defaults((50, 200, 500), 3.0, 3, Path(".run/bench.md")),
    "open": Defaults((200,), 10.0, 1, Path(".run/bench-open.md")),
    "stages": Defaults((200, 500), 5.0, 1, Path(".run/bench-stages.md")),
    "soak": Defaults((200,), 3.0, 1, Path(".run/bench-soak.md")),
    "sink": Defaults((200,), 5.0, 5, Path(".run/bench-sink.md")),
}


@dataclass(frozen=True)
class Setting:
    """All that a part needs."""

    args: argparse.Namespace
    source: Source
    bodies: Bodies
    meter: Meter
    variants: list[Variant]
    ours: list[Contestant]
    peers: list[Contestant]


Report = tuple[str, dict[str, Any]]  # Markdown, and the single figures


def _parser() -> argparse.ArgumentParser:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__, formatter_class=form)
    add = parser.add_argument
    add("part", nargs="?", choices=PARTS, default="table", help="what is measured (default: %(default)s)")
    add("--bundles", type=Path, default=Path("bundles"), help="default: %(default)s")
    add("--model", default="ple", help="the model that is served to everybody (default: %(default)s)")
    add("--redis", default=None, metavar="URL", help="default: REDIS_URL, else the project's private redis-server")
    add("--prefix", default="twinscore", help="first part of every key in Redis (default: %(default)s)")
    add("--peers", default="none", metavar="NAME,…", help=f"{', '.join(PEERS)}, or all, none (default: %(default)s)")
    add("--variant", action="append", default=[], metavar="'NAME:KEY=VALUE …'", help="our service, set so; repeatable")
    add("--env", action="append", default=[], metavar="KEY=VALUE", help="set in every variant; repeatable")
    add("--workers", type=int, default=None, help="passed on to every variant (default: not)")
    add("--processes", type=int, default=len(os.sched_getaffinity(0)), help="of floors and peers (default: the cores)")
    add("--sizes", type=_numbers, default=None, metavar="N,…", help="candidates a request (default: as the part asks)")
    add("--connections", type=_numbers, default=(1, 8, 32), metavar="N,…", help="of table and sink (default: 1,8,32)")
    add("--seconds", type=float, default=None, help="a cell or a step, at least 1 (default: as the part asks)")
    add("--rounds", type=int, default=None, help="of table, open and sink (default: 3, 1 and 5)")
    add(
        "--arrivals",
        choices=("constant", "poisson"),
        default="constant",
        help="of open and soak (default: %(default)s)",
    )
    add("--minutes", type=float, default=10.0, help="of the soak (default: %(default)s)")
    add("--out", type=Path, default=None, metavar="FILE.md", help="default: .run/bench….md")
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) for part in parts):
        raise argparse.ArgumentTypeError(f"{text}: write numbers above 0 such as 50,200")
    return tuple(dict.fromkeys(map(int, parts)))


def _arguments() -> argparse.Namespace:
    args = _parser().parse_args()
    for name, default in vars(PARTS[args.part]).items():
        if getattr(args, name) is None:
            setattr(args, name, default)
    if min(args.rounds, args.seconds, args.processes, 1 if args.workers is None else args.workers) < 1:
        raise ConfigError("--rounds, --seconds, --processes and --workers must be at least 1")
    if args.minutes < soak.LEAST_MINUTES:
        raise ConfigError(f"--minutes {args.minutes:g}: must be at least {soak.LEAST_MINUTES:g}")
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)  # now, not when all is measured and would be lost
    except OSError as error:
        raise ConfigError(f"--out {args.out}: {error.strerror}") from None
    return args


def _variants(args: argparse.Namespace) -> list[Variant]:
    chosen = [parse_variant(text) for text in args.variant] or [Variant("service")]
    everybody = dict[str, str]()
    for text in args.env:
        key, equals, everybody[key] = text.partition("=")
        if not key or not equals:
            raise ConfigError(f"--env {text}: write KEY=VALUE")
    workers = () if args.workers is None else ("--workers", str(args.workers))
    names = [variant.name for variant in chosen]
    if len(set(names)) < len(names):
        raise ConfigError(f"--variant: two have the same name among {', '.join(names)}")
    return [
        replace(one, environment=everybody | dict(one.environment), arguments=workers + one.arguments) for one in chosen
    ]


@contextmanager
def _setting(args: argparse.Namespace) -> Iterator[Setting]:
    bundle, variants = latest_version(args.bundles, args.model), _variants(args)
    read_bundle(bundle)
    names = {"all": list(PEERS), "none": []}.get(args.peers, args.peers.split(","))
    with tempfile.TemporaryDirectory() as temporary, redis_url(args.redis) as url:
        catalogue = read_catalogue(args.bundles, url, args.prefix, 100_000)
        if len(catalogue.items) < max(args.sizes):
            raise ConfigError(f"{len(catalogue.items)} items are loaded, {max(args.sizes)} are needed; prepare more")
        source, folder = Source(bundle, url, args.prefix), Path(temporary)
        contestants = [ours(variant, source, folder) for variant in variants]
        peers = [peer(name, source, args.processes) for name in names]
        yield Setting(args, source, Bodies(catalogue, folder), Meter(url), variants, contestants, peers)


def _table(setting: Setting) -> Report:
    args, meter = setting.args, setting.meter
    rounds = Rounds(setting.bodies, meter, args.sizes, args.connections, args.seconds, args.rounds)
    with ExitStack() as stack:
        workers = stack.enter_context(floors(setting.source, args.processes))
        standing = {one: stack.enter_context(one.start()) for one in setting.ours}
        meter.standing = {one.name: server.pids for one, server in standing.items()} | {"floors": workers.pids}
        measured = rounds.run(workers, standing, setting.peers)
    return table.table(measured), table.raw(measured)


def _open(setting: Setting) -> Report:
    from loadtest.bench.plot import draw, save  # only here: matplotlib is an extra, and slow to import

    args, size = setting.args, setting.args.sizes[0]
    bodies, pace = partial(setting.bodies.of, size=size), climb.Pace(args.seconds, args.arrivals == "poisson")
    climbs = climb.climb_in_turn(setting.ours + setting.peers, bodies, pace, args.rounds)
    typical = climbs.typical()
    title = f"{args.model}, {size} candidates a request, {args.arrivals} arrivals"
    save(draw(typical, size, title), args.out)
    verdicts = [climb.verdict(name, steps) for name, steps in typical.items()]
    verdicts += [f"{name} is left out: {why}" for name, why in climbs.failed.items()]
    return "\n\n".join([title, climb.table(typical), *verdicts]), climbs.raw()


def _stages(setting: Setting) -> Report:
    found, single = [], {}
    for one in setting.ours:
        with one.start() as server:
            budgets = {
                size: budget.measure(server, setting.bodies.of(one, size), setting.args.seconds, setting.meter)
                for size in setting.args.sizes
            }
        found.append(f"{one.name}, one connection\n\n{budget.table(budgets)}\n\n{budget.verdict(budgets)}")
        single[one.name] = budget.raw(budgets)
    return "\n\n".join(found), single


def _soak(setting: Setting) -> Report:
    args, one = setting.args, setting.ours[0]
    bodies = setting.bodies.of(one, args.sizes[0])
    with one.start() as server:
        rate = soak.SHARE * climb.saturation(server, bodies, args.seconds)
        print(f"{args.minutes:g} minutes at {rate:,.1f} requests/s", file=sys.stderr, flush=True)
        done = soak.soak(server, bodies, rate, args.minutes, args.arrivals == "poisson")
    return soak.report(done), soak.raw(done)


def _sink(setting: Setting) -> Report:
    args = setting.args
    with tempfile.TemporaryDirectory() as folder:
        measured = sink.measure(
            setting.variants[0],
            setting.source,
            setting.bodies,
            Path(folder),
            args.sizes[0],
            args.connections,
            args.seconds,
            args.rounds,
        )
    return sink.table(measured), sink.raw(measured)


_MEASURES: dict[str, Callable[[Setting], Report]] = {
    "table": _table,
    "open": _open,
    "stages": _stages,
    "soak": _soak,
    "sink": _sink,
}


def main() -> int:
    """Measure, print and write."""
    args = _arguments()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _leave)
    with _setting(args) as setting:
        report, single = _MEASURES[args.part](setting)
        told = f"{facts(args, setting.source)}\n\n{report}\n"
    write_text(args.out.with_suffix(".json"), json.dumps({"facts": told.partition("\n")[0], **single}, indent=1) + "\n")
    write_text(args.out, told)
    print(told)
    return 1 if single.get("failed") else 0


def _leave(number: int, frame: FrameType | None) -> None:
    """Unwind, so that what was started is stopped."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(run(main))
