"""`python -m export model|features`. Each command imports only what it needs: `features` runs without torch."""

import argparse
import sys
from pathlib import Path

from contract.command import run


def _model(args: argparse.Namespace) -> int:
    from export.model import export_model

    export_model(args.run, args.out, args.precision, args.data, args.max_auc_loss)
    return 0


def _features(args: argparse.Namespace) -> int:
    from export.features import export_features

    export_features(args.data, args.redis, args.prefix, force=args.force, delta=args.delta, ttl=args.ttl)
    return 0


def _seconds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a whole number of seconds, at least 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m export", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="model|features")
    model = commands.add_parser("model", help="checkpoint → verified ONNX bundle")
    model.add_argument("--run", type=Path, required=True, help="folder that `python -m training train` wrote")
    model.add_argument("--out", type=Path, default=Path("bundles"), help="bundles/<model>/<version>/ appears here")
    model.add_argument(
        "--precision",
        choices=("fp32", "int8", "fp16", "bf16"),
        default="fp32",
        help="of large matrix products: fp32 is exact, int8 for CPUs, fp16 for GPUs; those become <model>-int8, -fp16",
    )
    model.add_argument(
        "--data", type=Path, help="whose validation rows say what int8 or fp16 costs (default: the run's)"
    )
    model.add_argument(
        "--max-auc-loss", type=float, default=0.001, metavar="LOSS", help="refuse what costs a task more (%(default)s)"
    )
    model.set_defaults(command=_model)
    features = commands.add_parser("features", help="user and item tables → rows in Redis")
    features.add_argument("--data", type=Path, required=True, help="folder that `python -m training prepare` wrote")
    features.add_argument(
        "--redis",
        metavar="URL",
        help="redis://…, rediss://…, unix://… or redis+cluster://host:port,… "
        "(default: REDIS_URL, else the project's private redis-server)",
    )
    features.add_argument("--prefix", default="twinscore", help="first part of every key (default: %(default)s)")
    how = features.add_mutually_exclusive_group()
    how.add_argument("--force", action="store_true", help="write all rows again even if they are loaded")
    how.add_argument("--delta", action="store_true", help="write only rows that differ, into the live generation")
    features.add_argument("--ttl", type=_seconds, metavar="SECONDS", help="rows expire so long after they were written")
    features.set_defaults(command=_features)
    return parser


def main() -> int:
    """Parse the command line and run one command."""
    args = _parser().parse_args()
    status: int = args.command(args)
    return status


if __name__ == "__main__":
    sys.exit(run(main))
