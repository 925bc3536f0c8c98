"""Train on a prepared data set, stop early, keep the best weights, report.

Data are held in memory, or streamed from disk where a split has more than the recipe's memory_rows. Ctrl-C keeps the
best so far in RUN, and the state in RUN.unfinished, from which --resume goes on bit for bit, after a kill as well.
--from RUN begins with the weights of an earlier run, on data that `prepare --extend` made of that run's.
Several processes: `torchrun --nproc-per-node 2 -m training train ...`. RUN/events is for TensorBoard; MLflow is told
where MLFLOW_TRACKING_URI is set.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import torch
from rich.console import Console

from contract.errors import TwinscoreError
from training.batches import Batch, Rows
from training.calibration import calibrate
from training.checkpoint import SAMPLE_ROWS, WarmStart, check_out, describe, save_checkpoint
from training.config import Recipe, read_recipe, recipe_help
from training.datasets.prepared import SPLITS, Prepared, SplitName
from training.device import CPU, choose_device
from training.distributed import place, processes
from training.evaluation import assess
from training.fit import Fitted, fit
from training.models import MODELS, Ranker, build_model
from training.report import print_metrics
from training.resume import Identity, Saver, State
from training.sharding import check_sharded, shard, whole
from training.stream import open_rows
from training.tracking import Tracker, tracking
from training.warm_start import origin_of, start_from

MEASURED = 1_000_000  # rows at most that numeric knots and label scales are measured on


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the `train` command."""
    parser = subparsers.add_parser(
        "train",
        description=__doc__,
        epilog=recipe_help(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="prepared data set")
    parser.add_argument("--model", required=True, metavar="NAME", help=" or ".join(MODELS))
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder to write, or an earlier run")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="YAML (default: training/recipes/<model>.yaml)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="over the recipe, as model.embedding=32"
    )
    parser.add_argument("--seed", type=int, default=0, help="same seed, same machine, same result (default: 0)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="default: cuda if there")
    parser.add_argument("--stream", action="store_true", help="read from disk however few the rows are")
    parser.add_argument("--from", dest="start", type=Path, metavar="RUN", help="begin with its weights: new days")
    parser.add_argument("--resume", action="store_true", help="go on where this run was stopped or killed")
    parser.add_argument(
        "--save-every", type=_steps, default=1000, metavar="STEPS", help="between saves, besides validations (1000)"
    )
    parser.set_defaults(command=_command)


def _command(args: argparse.Namespace) -> int:
    recipe = read_recipe(args.model, args.recipe, args.set)
    if args.stream:
        recipe = recipe.model_copy(update={"memory_rows": 0})
    with processes():
        return train(
            args.data, args.model, recipe, args.out, args.seed, args.device, args.resume, args.save_every, args.start
        )


def train(
    path: Path,
    model_name: str,
    recipe: Recipe,
    out: Path,
    seed: int = 0,
    device_name: str = "auto",
    resume: bool = False,
    save_every: int = 1000,
    start: Path | None = None,
) -> int:
    """Train on prepared data and write the RUN folder; 130 where Ctrl-C cut it short, else 0."""
    console, out = Console(quiet=place().rank > 0), check_out(out)
    device, data = choose_device(device_name), Prepared.open(path)
    check_sharded(recipe)
    origin = None if start is None else origin_of(start)
    saver = Saver(out, _identity(data, model_name, recipe, seed, device, origin), save_every)
    torch.manual_seed(seed)
    model = build_model(model_name, data.schema, recipe.model)
    if start is not None:
        _told_new(start, start_from(start, model, model_name, recipe, data), console)
    resumed = _resumed(saver, resume, console)
    shard(model, recipe, device)
    model.to(device)
    if place().rank:
        torch.manual_seed(seed + place().rank)  # the same weights, other dropout
    splits = {split: open_rows(data, split, recipe, device) for split in SPLITS}
    _measure(model, splits["train"].sample(MEASURED), keep=origin is not None)
    about = model_name, recipe, seed, device.type, data
    with tracking(saver.folder / "events", out.name, describe(*about, warm_start=origin), console) as tracker:
        fitted = _fit(model, splits, recipe, seed, console, saver, resumed, tracker)
        model.load_state_dict(fitted.weights)
        uncalibrated = calibrate(model, splits["validation"])
        metrics = assess(model, splits["validation"], splits["test"])
        if tracker is not None:
            tracker.finished(fitted.steps, metrics, fitted.rows_per_second)
    weights = whole(model.state_dict(), model)
    if place().rank == 0:
        config = describe(*about, fitted.steps, fitted.interrupted, fitted.rows_per_second, origin)
        sample = next(splits["validation"].in_order(SAMPLE_ROWS)).to(CPU)
        save_checkpoint(out, weights, config, data, sample, metrics, saver.folder / "events")
    if not fitted.interrupted:
        saver.remove()
    print_metrics(console, metrics, data.schema.tasks)
    if uncalibrated:
        console.print(f"not calibrated, for want of positives or negatives in validation: {', '.join(uncalibrated)}")
    kept = f"interrupted: kept the best so far in {out}; --resume goes on" if fitted.interrupted else f"wrote {out}"
    console.print(kept, soft_wrap=True)
    return 130 if fitted.interrupted else 0


def _measure(model: Ranker, seen: Batch, keep: bool) -> None:
    """Knots and scales of these rows; all is checked but nothing moves where the model is to `keep` its own."""
    own = {name: measured.clone() for name, measured in model.named_buffers()} if keep else {}
    model.measure(seen.request_dense, seen.item_dense, seen.labels, seen.counted)
    model.load_state_dict(own, strict=False)


def _fit(
    model: Ranker,
    splits: Mapping[SplitName, Rows],
    recipe: Recipe,
    seed: int,
    console: Console,
    saver: Saver,
    resumed: State | None,
    tracker: Tracker | None,
) -> Fitted:
    try:
        return fit(model, splits["train"], splits["validation"], recipe, seed, console, saver, resumed, tracker)
    except KeyboardInterrupt:
        console.print("interrupted before the first validation: nothing is written but the state; --resume goes on")
        raise
    except TwinscoreError:
        saver.remove()  # nothing to go on with
        raise


def _identity(
    data: Prepared, model: str, recipe: Recipe, seed: int, device: torch.device, origin: WarmStart | None
) -> Identity:
    """What must be the same for a run to be resumed."""
    return {
        "--model": model,
        "--from": None if origin is None else origin.weights,
        "--seed": seed,
        "--device": device.type,
        "processes": place().world,
        "data": {"fingerprint": data.schema.fingerprint(), **data.description.model_dump()},
        "recipe": recipe.model_dump(mode="json"),
    }


def _told_new(start: Path, new: Mapping[str, int], console: Console) -> None:
    told = ", ".join(f"{field} {ids:,}" for field, ids in new.items())
    console.print(f"began with the weights of {start}; new ids: {told or 'none'}", soft_wrap=True)


def _resumed(saver: Saver, resume: bool, console: Console) -> State | None:
    if resume:
        state = saver.load()
        console.print(f"resumed after step {state.position.steps:,}")
        return state
    if saver.file.exists():
        console.print(f"training anew; what was unfinished in {saver.folder} is dropped", soft_wrap=True)
    saver.remove()
    return None


def _steps(text: str) -> int:
    """A number of steps from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of steps; give 1 or more")
    return int(text)
