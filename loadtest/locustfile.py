"""For Locust's own command line and web page: `locust -f loadtest/locustfile.py --host http://127.0.0.1:8000`.

Run from the project's root. Arguments as in loadtest/workload.py; `python -m loadtest` adds thresholds and a report.
"""

import argparse
import sys

from locust import events
from locust.env import Environment

from contract.errors import TwinscoreError
from loadtest.catalogue import read_catalogue
from loadtest.payloads import Payloads
from loadtest.users import ScoringUser
from loadtest.workload import add_arguments, bundles_folder, workload

__all__ = ["ScoringUser"]


def read_what_is_loaded(environment: Environment, **_: object) -> None:
    """Before each test, so that what was changed on the web page counts."""
    args = environment.parsed_options or argparse.Namespace()
    try:
        catalogue = read_catalogue(bundles_folder(args), args.redis, args.prefix, args.ids)
        ScoringUser.payloads = Payloads(catalogue, workload(args))
    except TwinscoreError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


events.init_command_line_parser.add_listener(add_arguments)  # type: ignore[no-untyped-call]
events.test_start.add_listener(read_what_is_loaded)  # type: ignore[no-untyped-call]
