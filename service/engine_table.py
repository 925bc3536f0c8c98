"""What a run takes by its number of candidates: `python -m service.engine_table --bundle DIR… --device cuda`.

Captured graphs against none, the three graphs of the split against the whole, items known against items that are new;
several bundles, as one of fp32 and one of fp16, give a table each. No HTTP, no Redis: candidates drawn at random.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from contract.bundle import Bundle, read_bundle
from contract.command import run
from contract.errors import ConfigError
from service.scoring.buckets import candidate_buckets
from service.scoring.cuda_engine import CudaEngine
from service.scoring.cuda_session import CudaOptions
from service.scoring.device_table import Table
from service.scoring.engine import Device
from service.scoring.inputs import Inputs, from_arrays

REQUEST = 200  # candidates of a request
_KNOWN, _NEW = "known items", "new items"


@dataclass(frozen=True, slots=True)
class Variant:
    """A way to score the same candidates."""

    name: str
    engine: CudaEngine
    keyed: bool


def variants(bundle: Bundle, device: Device, largest: int) -> Iterator[Variant]:
    """All ways that this device has; a CPU captures no graphs."""
    for graphs in (True, False) if device == "cuda" else (False,):
        options, end = CudaOptions(graphs), ", captured" if graphs else ""
        split = CudaEngine(bundle, options, largest, Table(largest, 1 << 10), device=device)
        if split.items:
            yield Variant(f"split, {_KNOWN}{end}", split, True)
        yield Variant(f"split, {_NEW}{end}", split, False)
        yield Variant(f"whole{end}", CudaEngine(bundle, options, largest, device=device, split=False), False)


def candidates(bundle: Bundle, rows: int) -> Inputs:
    """N candidates of as many requests as N asks for, golden cases again and again; each with a key of its own."""
    golden = from_arrays(bundle.golden()[0])
    requests = -(-rows // REQUEST)
    users, items = (
        np.resize(np.arange(count), n) for count, n in ((len(golden.request_ids), requests), (len(golden), rows))
    )
    owners = (np.arange(rows) // REQUEST).astype(np.int32)
    keys = np.arange(1, rows + 1) | 1 << 24
    return Inputs(
        golden.request_ids[users], golden.request_dense[users], golden.item_ids[items], golden.item_dense[items],
        owners, keys,
    )  # fmt: skip


def milliseconds(ways: list[Variant], inputs: Inputs, seconds: float) -> list[float]:
    """The median run of each way; they take turns, so that what disturbs one disturbs all."""
    nameless = replace(inputs, item_keys=np.zeros_like(inputs.item_keys))
    taken: list[list[float]] = [[] for _ in ways]
    for way in ways:
        way.engine.run(inputs)
    end = perf_counter() + seconds
    while not taken[0] or perf_counter() < end:
        for times, way in zip(taken, ways, strict=True):
            started = perf_counter()
            way.engine.run(inputs if way.keyed else nameless)
            times.append(1000 * (perf_counter() - started))
    return [median(times) for times in taken]


def lines(bundle: Bundle, device: Device, largest: int, seconds: float) -> Iterator[str]:
    """The table of a bundle, line by line as it is measured."""
    ways = list(variants(bundle, device, largest))
    manifest, pinned = bundle.manifest, all(way.engine.pinned for way in ways)
    memory = "pinned" if pinned else "pageable"
    yield f"{manifest.model}@{manifest.version}, {manifest.precision}, {device}, {memory} host memory"
    yield "milliseconds a run (thousand candidates a second)"
    widths = [max(len(way.name), 14) for way in ways]
    yield "  ".join(["candidates", *(way.name.rjust(width) for way, width in zip(ways, widths, strict=True))])
    for rows in candidate_buckets(largest):
        taken = milliseconds(ways, candidates(bundle, rows), seconds)
        cells = (f"{ms:.3f} ({rows / ms:.0f})".rjust(width) for ms, width in zip(taken, widths, strict=True))
        yield "  ".join([f"{rows:10}", *cells])


def main() -> int:
    """Print a table a bundle."""
    parser = argparse.ArgumentParser(prog="python -m service.engine_table", description=__doc__)
    parser.add_argument("--bundle", type=Path, nargs="+", required=True, help="bundles/<model>/<version>")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda", help="default: %(default)s")
    parser.add_argument("--largest", type=int, default=4096, help="candidates in a run (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2, help="for each number of candidates (default: %(default)s)")
    args = parser.parse_args()
    if args.largest < 1:
        raise ConfigError(f"--largest {args.largest}: a run has at least one candidate")
    for path in args.bundle:
        for line in lines(read_bundle(path), args.device, args.largest, args.seconds):
            print(line, flush=True)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
