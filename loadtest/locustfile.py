"""For Locust's own command line and web page: `locust -f loadtest/locustfile.py --host http://127.0.0.1:8000`.

Run from the project's root. Arguments as in loadtest/shapes.py and loadtest/workload.py; on the web page they can be
changed before each run. Distributed with Locust's `--master` and `--worker`: workers take the arguments of the master,
each reads for itself what is loaded, and the master adds up what they saw. Ends with what `python -m loadtest` prints
and, headless, its exit status; that one writes a result file besides.
"""

import argparse
import sys

from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from contract.errors import TwinscoreError
from loadtest import shapes, workload
from loadtest.catalogue import Catalogue, read_catalogue
from loadtest.headless import Run, Shape
from loadtest.payloads import Payloads
from loadtest.recorder import Recorder
from loadtest.shapes import Course, draining
from loadtest.thresholds import Thresholds
from loadtest.users import ScoringUser

__all__ = ["ScoringUser", "Shape"]


class Session:
    """A Locust process: alone, a master or a worker, for one run after another."""

    def __init__(self, environment: Environment, catalogue: Catalogue) -> None:
        self._environment, self._catalogue = environment, catalogue
        self._recorder = Recorder(environment)
        self._run: Run | None = None
        environment.events.test_start.add_listener(self._prepare)  # type: ignore[no-untyped-call]
        environment.events.test_stop.add_listener(self._report)  # type: ignore[no-untyped-call]
        if isinstance(environment.shape_class, Shape):
            environment.shape_class.begin = self._begin

    def _begin(self) -> Course:
        """Before each run, so that what was changed on the web page counts; not on workers."""
        args = _options(self._environment)
        try:
            workload.workload(args)
            plan = shapes.plan(args, args.num_users or 1, float(args.run_time or 0))
        except TwinscoreError as error:
            if args.headless:
                _leave(error)
            print(f"error: {error}", file=sys.stderr, flush=True)
            return lambda _: None
        args.source_rate = plan.source_rate  # goes to the workers with all other arguments
        self._run = Run(self._environment, plan, Thresholds(args.p99 or None, args.errors), self._recorder)
        return draining(self._run.level, self._recorder.lag)

    def _prepare(self, **_: object) -> None:
        args = _options(self._environment)
        ScoringUser.payloads = Payloads(self._catalogue, workload.workload(args))
        ScoringUser.source_rate = args.source_rate

    def _report(self, **_: object) -> None:
        if self._run is None or isinstance(self._environment.runner, WorkerRunner):
            return
        print("\n".join(self._run.lines()), flush=True)
        broken = self._run.broken()
        for line in broken:
            print(f"error: {line}", file=sys.stderr, flush=True)
        self._environment.process_exit_code = 1 if broken else 0


def _options(environment: Environment) -> argparse.Namespace:
    options: argparse.Namespace | None = environment.parsed_options
    assert options is not None
    return options


def _leave(error: TwinscoreError) -> None:
    print(f"error: {error}", file=sys.stderr, flush=True)
    raise SystemExit(2) from None


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--p99", type=float, default=0.0, help="fail above so many ms; 0: no limit (default: 0)")
    parser.add_argument("--errors", type=float, default=0.01, help="fail where more go wrong (default: 0.01)")
    shapes.add_arguments(parser)
    workload.add_arguments(parser)


def _open(environment: Environment, **_: object) -> None:
    """Once, before the web page opens or the clock of a headless run starts."""
    args = _options(environment)
    try:
        catalogue = read_catalogue(workload.bundles_folder(args), args.redis, args.prefix, args.ids)
    except TwinscoreError as error:
        _leave(error)
    else:
        Session(environment, catalogue)


events.init_command_line_parser.add_listener(_add_arguments)  # type: ignore[no-untyped-call]
events.init.add_listener(_open)  # type: ignore[no-untyped-call]
