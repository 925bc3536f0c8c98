"""`python -m service experiments …`: check a configuration, compare, explain and simulate it, and put it in force."""

import argparse
import getpass
import json
import math
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contract.errors import BundleError, ConfigError
from service.experiments.assignment import Assignment
from service.experiments.change.choice import stays
from service.experiments.change.difference import Change, compare, drawn, percent
from service.experiments.change.remote import Remote
from service.experiments.explanation import explain
from service.experiments.planning import power
from service.experiments.planning.outlook import Assumed
from service.experiments.planning.overview import overview, warnings
from service.experiments.planning.users import read_users
from service.experiments.source import Source, read_experiments
from service.settings import Settings, read_settings

_DRAWN = 100_000


def main(argv: list[str]) -> int:
    """Parse the command line and run one command."""
    args = _parser().parse_args(argv)
    args.command(args)
    return 0


def _validate(args: argparse.Namespace) -> None:
    source = _read(args.config)
    models = _bundles(source, args.bundles) if args.bundles else []
    print(f"{source.origin}: good; version {source.config.version}, default model {source.config.default_model}")
    _say(overview(source.config, datetime.now(UTC)))
    _say(models)
    _say(f"warning: {line}" for line in warnings(source.config))


def _diff(args: argparse.Namespace) -> None:
    old, new = read_experiments(args.old), read_experiments(args.new)
    found = compare(old.config, new.config)
    if not found.general and not found.changes:
        print("no difference")
        return
    users = [f"user-{i}" for i in range(_DRAWN)] if args.users is None else read_users(args.users, args.column)
    moved = drawn(old.config, new.config, users)
    _say(found.general)
    for change in found.changes:
        _say(_changes(change, moved.get(change.key)))
    if new.config.version <= old.config.version:
        print(f"warning: version {new.config.version} must be above {old.config.version} to be put in force")
    stays(old, new)


def _changes(change: Change, moved: tuple[int, int] | None) -> list[str]:
    if moved is None:
        return [f"experiment '{change.key}': new"]
    words, (enrolled, gone) = change.words, moved
    if words == ["removed"]:
        return [f"experiment '{change.key}': removed; {enrolled:,} of the users drawn were in it"]
    phase = ", in a new phase" if change.share and not change.refusal else ""
    share = f"{percent(change.share)} of its enrolled users change arm or fall out" if change.share else "nobody moves"
    words = [*words, f"{share} ({gone:,} of {enrolled:,} drawn){phase}", *(f"warning: {w}" for w in change.warnings)]
    return [f"experiment '{change.key}'", *(f"  {line}" for line in words)]


def _explain(args: argparse.Namespace) -> None:
    source = _read(args.config)
    steps = explain(Assignment(source.config), args.user, _context(args.context))
    print(f"user {args.user}, version {source.config.version}")
    _say(f"{i:3}. {step['step']}: {step['text']}" for i, step in enumerate(steps, 1))


def _simulate(args: argparse.Namespace) -> None:
    from service.experiments.planning.simulation import split
    from service.experiments.planning.simulation_page import lines

    source = _read(args.config)
    users = read_users(args.users, args.column)
    assumed = Assumed(baseline=args.baseline, per_user=args.per_user, spread=args.spread, effect=args.effect)
    with_bar = sys.stderr.isatty()
    drawn_users = split(source.config, users, lambda done: _progress(done, len(users)) if with_bar else None)
    _say(lines(drawn_users, assumed, args.days))


def _apply(args: argparse.Namespace) -> None:
    source = _read(args.config)
    version = _remote(args).apply(source.text, args.note, args.check)
    _say(version.get("diff", []))
    print(f"version {version['version']} {'would be taken' if args.check else 'is in force'} at {args.url}")


def _history(args: argparse.Namespace) -> None:
    history = _remote(args).history()
    for version in history["versions"]:
        note = f": {version['note']}" if version.get("note") else ""
        star = " (in force)" if version["version"] == history["version"] else ""
        print(f"version {version['version']}{star}, {version['time']}, {version['author']}{note}")
        _say(f"    {line}" for line in version.get("diff", []))
    _say(f"refused ({each['origin']}): {each['reason']}" for each in history["refused"])


def _rollback(args: argparse.Namespace) -> None:
    version = _remote(args).rollback(args.version, args.note)
    print(f"version {version['version']} is in force at {args.url}: {version['note']}")


def _read(file: Path | None) -> Source:
    return read_experiments(file or read_settings().experiments)


def _bundles(source: Source, root: Path) -> list[str]:
    """A line a model with the version that would be served; ConfigError with the line that names a missing one."""
    from service.scoring.registry import find  # only here: it loads the runtime

    found = []
    for reference, place in source.config.models().items():
        try:
            found.append(f"  model {reference}: {find(root, reference)}")
        except BundleError as error:
            raise ConfigError(f"{source.where(place)}: model '{reference}': {error}") from None
    return found


def _context(text: str) -> dict[str, Any]:
    try:
        context = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"--context: not JSON: {error}") from None
    if not isinstance(context, dict):
        raise ConfigError('--context: must be an object, such as \'{"scene": "home"}\'')
    return context


def _remote(args: argparse.Namespace) -> Remote:
    settings = read_settings()
    set_token = settings.admin_token
    token = args.token or (set_token.get_secret_value() if set_token else None)
    return Remote(args.url or _url(settings), token, args.author or _login())


def _url(settings: Settings) -> str:
    """Where a service with these settings is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # all addresses are none to call
    return f"http://[{host}]:{settings.port}" if ":" in host else f"http://{host}:{settings.port}"


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return ""


def _progress(done: int, users: int) -> None:
    shown = f"{done / users:4.0%} of {users:,} users drawn" if done < users else ""
    print(f"\r{shown:40}", end="\r", file=sys.stderr, flush=True)


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return value


def _rate(text: str) -> float:
    if (value := _positive(text)) >= 1:
        raise argparse.ArgumentTypeError(f"{text}: must be below 1")
    return value


def _spread(text: str) -> float:
    return 0.0 if text == "0" else _positive(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m service experiments", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser
    validate = add("validate", help="is it good, what runs for whom, what to think twice about")
    validate.add_argument("config", type=Path, nargs="?", metavar="FILE", help="default: TWINSCORE_EXPERIMENTS")
    validate.add_argument("--bundles", type=Path, metavar="DIR", help="where every model must be")
    validate.set_defaults(command=_validate)
    diff = add("diff", help="what changes, and whether anybody would change arm (then: status 2)")
    diff.add_argument("old", type=Path, metavar="OLD")
    diff.add_argument("new", type=Path, metavar="NEW")
    _add_users(diff, required=False)
    diff.set_defaults(command=_diff)
    explained = add("explain", help="each step of the decision for a user")
    explained.add_argument("user", metavar="USER")
    explained.add_argument("--context", default="{}", metavar="JSON", help="of the request, for conditions")
    _add_config(explained)
    explained.set_defaults(command=_explain)
    raw = argparse.RawDescriptionHelpFormatter
    what = "draw a file of users: balance, independence, and what can be found"
    _add_simulate(add("simulate", help=what, epilog=power.__doc__, formatter_class=raw))
    _add_remote(add("apply", help="put a file in force in a running service"), _apply)
    _add_remote(add("history", help="every version of a running service"), _history)
    _add_remote(add("rollback", help="put an old version in force again"), _rollback)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: TWINSCORE_EXPERIMENTS")


def _add_users(parser: argparse.ArgumentParser, *, required: bool) -> None:
    default = "" if required else f"; default: {_DRAWN:,} made-up ones"
    parser.add_argument(
        "--users", type=Path, required=required, metavar="FILE", help=f"ids, one a line, or CSV, TSV; .gz too{default}"
    )
    parser.add_argument("--column", metavar="NAME", help="of a CSV or TSV, the ids")


def _add_simulate(parser: argparse.ArgumentParser) -> None:
    _add_config(parser)
    _add_users(parser, required=True)
    add = parser.add_argument
    add("--baseline", type=_rate, default=0.05, metavar="RATE", help="of the primary metric (default: %(default)s)")
    add(
        "--exposures-per-user", dest="per_user", type=_positive, metavar="N",
        help="mean per user of what the metric divides by (default: 10 exposures; 1 click where it is cvr)",
    )  # fmt: skip
    add(
        "--spread", type=_spread, metavar="S",
        help="standard deviation over mean, of users' own rates or value; makes exposures of a user alike "
        "(default: 1, rates as uneven as an exponential; of value 5, few buy and some much)",
    )  # fmt: skip
    add("--effect", type=_positive, metavar="LIFT", help="relative, 0.02 is 2 %% (default: the measure's)")
    add("--days", type=_positive, default=7.0, help="in which these users come (default: %(default)s)")
    parser.set_defaults(command=_simulate)


def _add_remote(parser: argparse.ArgumentParser, command: Any) -> None:
    add = parser.add_argument
    add("--url", help="of the service (default: by HOST and PORT, else http://127.0.0.1:8000)")
    if command is _apply:
        add("config", type=Path, metavar="FILE")
        add("--check", action="store_true", help="only ask whether it would be taken")
    if command is _rollback:
        add("version", type=int, metavar="N")
    if command is not _history:
        add("--note", default="", help="why; kept with the version")
    add("--token", help="default: TWINSCORE_ADMIN_TOKEN")
    add("--author", metavar="NAME", help="kept with the version (default: who is logged in)")
    parser.set_defaults(command=command)
