"""`python -m loadtest.bench`: the service against two floors on this machine, in one run, interleaved.

Starts a service of its own that serves one model to everybody, with the bundles and the Redis of `make serve`. Each
round measures every cell once, so that a slow minute of the machine hits them all; shown are medians over the rounds.
"""

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

from contract.bundle import latest_version, read_bundle
from contract.command import run
from contract.errors import ConfigError
from contract.files import write_text
from contract.local_redis import redis_url
from loadtest.catalogue import Catalogue, read_catalogue
from loadtest.floors import MODEL, WHOLE, Floors, Source, floors
from loadtest.http_load import Figures, generator, load
from loadtest.payloads import Payloads
from loadtest.workload import Candidates, Workload

SIZES, CONNECTIONS = (50, 200, 500), (1, 8, 32)
_BODIES = 64

Cell = tuple[int, str]  # candidates, what is measured
Measured = dict[Cell, list[Figures]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench", description=__doc__)
    add = parser.add_argument
    add("--bundles", type=Path, default=Path("bundles"), help="default: %(default)s")
    add("--model", default="ple", help="the model that is served to everybody (default: %(default)s)")
    add("--redis", default=None, metavar="URL", help="default: REDIS_URL, else the project's private redis-server")
    add("--prefix", default="twinscore", help="first part of every key in Redis (default: %(default)s)")
    add("--processes", type=int, default=len(os.sched_getaffinity(0)), help="of the floors (default: one a core)")
    add("--seconds", type=float, default=3.0, help="a cell and round (default: %(default)s)")
    add("--rounds", type=int, default=3, help="default: %(default)s")
    add("--out", type=Path, default=Path(".run/bench.md"), help="default: %(default)s")
    return parser


@contextmanager
def _service(args: argparse.Namespace, redis: str, folder: Path) -> Iterator[str]:
    """Start `python -m service` on a free port and yield its address."""
    experiments = folder / "experiments.yaml"
    experiments.write_text(f"version: 1\ndefault_model: {args.model}\nlayers: []\n")
    settings = {"HOST": "127.0.0.1", "PORT": "0", "REDIS_URL": redis, "TWINSCORE_REDIS_PREFIX": args.prefix}
    settings |= {"TWINSCORE_BUNDLES": str(args.bundles), "TWINSCORE_EXPERIMENTS": str(experiments)}
    command = [sys.executable, "-u", "-m", "service"]
    process = subprocess.Popen(command, env=os.environ | settings, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = next((line for line in process.stdout if line.startswith("serving on ")), None)
        if told is None:
            raise ConfigError("the service did not start; what it printed is above")
        yield told.split()[2]
    finally:
        process.terminate()
        process.wait()


def _write_bodies(catalogue: Catalogue, folder: Path) -> dict[int, Path]:
    files = {size: folder / f"{size}.jsonl" for size in SIZES}
    for size, file in files.items():
        payloads = Payloads(catalogue, Workload(Candidates((float(size),)), 0.0, 0.0, 1.05, 1))
        rng = np.random.default_rng(size)
        file.write_text("".join(payloads.draw(rng).body + "\n" for _ in range(_BODIES)))
    return files


def _measure(args: argparse.Namespace, workers: Floors, host: str, bodies: dict[int, Path]) -> Measured:
    measured: Measured = {}
    for turn in range(args.rounds + 1):
        seconds = args.seconds if turn else 1.0  # the first round warms up and does not count
        print(f"round {turn} of {args.rounds}", file=sys.stderr, flush=True)
        for size, file in bodies.items():
            found = {floor: workers.measure(floor, file, seconds) for floor in (MODEL, WHOLE)}
            found |= {_served(c): load(f"{host}/score", file, c, seconds) for c in CONNECTIONS}
            for what, figure in found.items() if turn else ():
                measured.setdefault((size, what), []).append(figure)
    return measured


def _served(connections: int) -> str:
    return f"/score, {connections} connection{'s' if connections > 1 else ''}"


def table(measured: Measured) -> str:
    """A Markdown table of medians; shares are of the floors at the same number of candidates."""
    lines = ["| candidates | | requests/s | items/s | p50 ms | p99 ms | of session.run | of MGET + run | spread |"]
    lines.append("|--:|---|--:|--:|--:|--:|--:|--:|--:|")
    rates = {cell: median(one.requests_per_second for one in rounds) for cell, rounds in measured.items()}
    for (size, what), rounds in measured.items():
        rate = rates[size, what]
        each = [one.requests_per_second for one in rounds]
        shares = " | ".join(f"{rate / rates[size, floor]:.2f}" for floor in (MODEL, WHOLE))
        p50, p99 = median(one.p50 for one in rounds), median(one.p99 for one in rounds)
        spread = (max(each) - min(each)) / rate
        lines.append(
            f"| {size} | {what} | {rate:,.0f} | {rate * size:,.0f} | {p50:.2f} | {p99:.2f} | {shares} | {spread:.0%} |"
        )
    return "\n".join(lines)


def _facts(args: argparse.Namespace, bundle: Path) -> str:
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    packages = ", ".join(f"{name} {version(name)}" for name in ("onnxruntime", "numpy", "uvicorn", "redis"))
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
    return (
        f"{len(os.sched_getaffinity(0))} cores, {models[0] if models else platform.processor()}; "
        f"Python {platform.python_version()}, {packages}; commit {commit}; model {bundle.parent.name}@{bundle.name}; "
        f"floors in {args.processes} processes of one thread, HTTP by {generator()} on the same machine; "
        f"medians of {args.rounds} rounds of {args.seconds:g} s, spread is (max - min) / median of requests/s."
    )


def main() -> int:
    """Measure, print and write."""
    args = _parser().parse_args()
    if args.rounds < 1 or args.seconds < 1 or args.processes < 1:
        raise ConfigError("--rounds, --seconds and --processes must be at least 1")
    bundle = latest_version(args.bundles, args.model)
    read_bundle(bundle)
    with tempfile.TemporaryDirectory() as temporary, redis_url(args.redis) as url:
        catalogue = read_catalogue(args.bundles, url, args.prefix, 100_000)
        if len(catalogue.items) < max(SIZES):
            raise ConfigError(f"{len(catalogue.items)} items are loaded, {max(SIZES)} are needed; prepare more")
        bodies = _write_bodies(catalogue, Path(temporary))
        source = Source(bundle, url, args.prefix)
        with floors(source, args.processes) as workers, _service(args, url, Path(temporary)) as host:
            measured = _measure(args, workers, host, bodies)
    report = f"{_facts(args, bundle)}\n\n{table(measured)}\n"
    write_text(args.out, report)
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
