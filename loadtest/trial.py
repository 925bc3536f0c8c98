"""A trial whose answer is known: users ask for scores, and click more often under one arm than under another.

    python -m loadtest.trial --users 5000 --clicks ple=0.05,dtn=0.06

Each user sends some requests and stays in the arm that the service says; a request is clicked with the probability of
its arm, times a factor of the user's own (mean 1), and a click converts with --conversion. What was sent is printed by
arm: after `python -m service outcomes` the readout shows the same counts, and an interval that should hold the truth.
"""

import argparse
import http.client
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from contract.command import run
from contract.errors import ConfigError, StoreError

_EVENTS = 500  # in one POST
_SPREAD = 2.0  # shape of the gamma factor of a user: a standard deviation of 0.7


@dataclass
class Sent:
    """What one arm got."""

    users: set[str] = field(default_factory=set)
    exposures: int = 0
    clicks: int = 0
    conversions: int = 0


def main(arguments: list[str] | None = None) -> int:
    """Send the trial, print what was sent."""
    args = _arguments(arguments)
    clicks = _chances(args.clicks)
    sent: dict[str, Sent] = defaultdict(Sent)
    address = urlsplit(args.host)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=30)
    try:
        events = _asked(connection, args, clicks, sent)
        for batch in _batches(events):
            _post(connection, "/events", batch, 202)
    finally:
        connection.close()
    for arm, of in sorted(sent.items()):
        lift = clicks[arm] / next(iter(clicks.values())) - 1
        print(
            f"{arm}: {len(of.users)} users, {of.exposures} exposures, {of.clicks} clicks, "
            f"{of.conversions} conversions; true lift of clicks {100 * lift:+.1f} %"
        )
    return 0


def _arguments(arguments: list[str] | None) -> argparse.Namespace:
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="python -m loadtest.trial", description=__doc__, formatter_class=form)
    where = f"http://{os.environ.get('HOST') or '127.0.0.1'}:{os.environ.get('PORT') or 8000}"
    parser.add_argument("--host", default=where, help=f"default, of HOST and PORT: {where}")
    parser.add_argument("--users", type=int, default=2_000, help="default: 2000")
    parser.add_argument("--requests", type=int, default=3, help="of a user, on average; default: 3")
    parser.add_argument("--items", type=int, default=20, help="candidates of a request; default: 20")
    parser.add_argument("--clicks", default="ple=0.05,dtn=0.06", help="ARM=CHANCE,…; the first is the base of lifts")
    parser.add_argument("--conversion", type=float, default=0.1, help="of a click; default: 0.1")
    parser.add_argument("--seed", type=int, default=1, help="also part of the users' ids; default: 1")
    args = parser.parse_args(arguments)
    if min(args.users, args.requests, args.items) < 1 or not 0 <= args.conversion <= 1:
        raise ConfigError("--users, --requests, --items: at least 1; --conversion: 0 to 1")
    return args


def _chances(text: str) -> dict[str, float]:
    try:
        chances = {arm: float(chance) for arm, _, chance in (part.partition("=") for part in text.split(","))}
    except ValueError:
        raise ConfigError(f"--clicks {text}: write ARM=CHANCE,ARM=CHANCE, such as ple=0.05,dtn=0.06") from None
    if not all(0 < chance < 1 for chance in chances.values()):
        raise ConfigError(f"--clicks {text}: chances must lie between 0 and 1")
    return chances


def _asked(
    connection: http.client.HTTPConnection, args: argparse.Namespace, clicks: dict[str, float], sent: dict[str, Sent]
) -> Iterator[dict[str, Any]]:
    """Every user's requests; the events that follow."""
    rng = np.random.default_rng(args.seed)
    told = monotonic()
    for number in range(args.users):
        user, factor = f"trial-{args.seed}-{number}", rng.gamma(_SPREAD, 1 / _SPREAD)
        for _ in range(1 + rng.poisson(args.requests - 1)):
            items = [f"i{item}" for item in rng.integers(0, 1_000, args.items)]
            reply = _post(connection, "/score", {"user": {"id": user}, "item_ids": items}, 200)
            arm = reply["experiment"]["arm"]
            if arm is None:
                continue
            if arm not in clicks:
                raise ConfigError(f"--clicks: no chance for arm '{arm}'; add {arm}=0.05")
            of = sent[arm]
            of.users.add(user)
            of.exposures += 1
            if rng.random() < clicks[arm] * factor:
                of.clicks += 1
                yield _event(reply, user, "click")
                if rng.random() < args.conversion:
                    of.conversions += 1
                    yield _event(reply, user, "conversion") | {"value": round(float(rng.lognormal(3, 1)), 2)}
        if sys.stderr.isatty() and monotonic() - told > 1:
            told = monotonic()
            print(f"\r{number + 1:,} of {args.users:,} users", end="", file=sys.stderr)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def _event(reply: dict[str, Any], user: str, kind: str) -> dict[str, Any]:
    request = reply["request_id"]
    best = reply["item_ids"][0]
    return {"id": f"{request}:{kind}", "type": kind, "user": user, "request_id": request, "item_id": best}


def _batches(events: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    for event in events:
        batch.append(event)
        if len(batch) == _EVENTS:
            yield batch
            batch = []
    if batch:
        yield batch


def _post(connection: http.client.HTTPConnection, path: str, body: object, status: int) -> Any:
    try:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        reply = connection.getresponse()
        content = reply.read()
    except OSError as error:
        raise StoreError(f"{connection.host}:{connection.port}: {error}; start the service, or set --host") from None
    if reply.status != status:
        said = json.loads(content).get("detail", "") if content.startswith(b"{") else ""
        raise StoreError(f"{path} answered {reply.status}: {said}")
    return json.loads(content)


if __name__ == "__main__":
    sys.exit(run(main))
