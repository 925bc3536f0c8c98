"""`python -m loadtest.compare --base result.json`: run the same workload again and flag a drop beyond noise.

`--base` is the result.json of an earlier `python -m loadtest`. Its workload is run against the running service in as
many rounds. A figure is flagged where the interval of its ratio (loadtest/drops.py) lies wholly on the worse side of
1 and the ratio itself is worse than `--effect`.

The rounds of one run know its noise, but not that of a machine that is busier today than it was then. Measure base and
now close to each other, on a machine that does nothing else; `cpu_ms_a_request` suffers least from neighbours.

Exit status: 0 no drop, 1 a drop, 2 not comparable (other workload, machine or address) or nothing to load.
"""

import argparse
import sys
from pathlib import Path

from contract.command import run as run_command
from contract.errors import ConfigError
from loadtest import __main__ as loadtest
from loadtest.drops import changes, check_base, check_same
from loadtest.result import ASKED, Result, read_result
from loadtest.workload import where_loaded


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m loadtest.compare", description=__doc__.partition("\n")[0])
    add = made.add_argument
    add("--base", type=Path, required=True, metavar="FILE", help="result.json of an earlier run")
    add("--effect", type=float, default=0.05, help="smaller drops are let pass (default: %(default)s)")
    add("--host", default="http://127.0.0.1:8000", help="the service (default: %(default)s)")
    add("--out", type=Path, default=Path(".run/loadtest-compare"), help="for the report (default: %(default)s)")
    where_loaded(made)
    return made


def main() -> int:
    """Read, run, compare."""
    given = _parser().parse_args()
    if not 0 <= given.effect < 1:
        raise ConfigError(f"--effect {given.effect:g}: must be a share between 0 and 1")
    base = read_result(given.base)
    check_base(base, given.base, given.host)
    asked = {name: base.workload[name] for name in ASKED}
    args = loadtest.parser().parse_args([], argparse.Namespace(**asked | vars(given)))
    finished, now = loadtest.load(args, lambda workload: check_same(base, workload))
    found = changes(base, now)
    print(f"base {_named(base)}\nnow  {_named(now)}")
    print("\n".join(map(str, found)), flush=True)
    drops = [f"{one}: a drop beyond noise and {given.effect:.0%}" for one in found if one.worse(given.effect)]
    return loadtest.judge(finished.broken() + drops)


def _named(result: Result) -> str:
    models = ", ".join(f"{name}@{version}" for name, version in sorted(result.models.items()))
    return f"commit {result.commit}, {models or 'models unknown'}"


if __name__ == "__main__":
    sys.exit(run_command(main))
