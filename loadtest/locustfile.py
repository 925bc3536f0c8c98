"""For Locust's own command line and web page: `locust -f loadtest/locustfile.py --host http://127.0.0.1:8000`.

Run from the project's root. Arguments as in loadtest/workload.py; `python -m loadtest` adds thresholds and a report.
"""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from locust import events
from locust.env import Environment

from contract.errors import TwinscoreError
from loadtest.catalogue import Catalogue, read_catalogue
from loadtest.payloads import Payloads
from loadtest.users import ScoringUser
from loadtest.workload import add_arguments, bundles_folder, workload

__all__ = ["ScoringUser"]


_loaded: dict[str, Catalogue] = {}


def _read_what_is_loaded(environment: Environment, **_: object) -> None:
    """Once, before the web page opens or the clock of a headless run starts."""
    args = environment.parsed_options or argparse.Namespace()
    with _leave_on_error():
        _loaded["catalogue"] = read_catalogue(bundles_folder(args), args.redis, args.prefix, args.ids)


def _make_payloads(environment: Environment, **_: object) -> None:
    """Before each test, so that a workload that was changed on the web page counts."""
    with _leave_on_error():
        shape = workload(environment.parsed_options or argparse.Namespace())
        ScoringUser.payloads = Payloads(_loaded["catalogue"], shape)


@contextmanager
def _leave_on_error() -> Iterator[None]:
    try:
        yield
    except TwinscoreError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


events.init_command_line_parser.add_listener(add_arguments)  # type: ignore[no-untyped-call]
events.init.add_listener(_read_what_is_loaded)  # type: ignore[no-untyped-call]
events.test_start.add_listener(_make_payloads)  # type: ignore[no-untyped-call]
