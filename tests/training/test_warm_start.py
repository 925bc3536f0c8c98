"""--from: a run on new days begins with an earlier run's weights; new ids begin as missing values do."""

import json
import shutil
import signal
from pathlib import Path

import polars as pl
import pytest
import torch
from safetensors.torch import load_file

from contract.command import run as run_command
from contract.dictionary import Dictionary
from contract.errors import ConfigError, DataError
from contract.files import sha256
from contract.schema import Field, Kind, Schema, Side, Task
from tests.training import tiny
from training.__main__ import main
from training.checkpoint import load_checkpoint
from training.config import read_recipe
from training.datasets.prepared import Prepared
from training.models import MODELS, Ranker, build_model
from training.models.tables import FieldTables
from training.warm_start import start_from

SIZES = {"user": 30, "likes": 9, "item": 15}  # of the new days
SMALL = ("batch_size=100", "epochs=2", "model.embedding=4", "learning_rate=1e-2", "patience=10", "model.tower=[8]")
FAST = {"dtn": ("model.memonet.code_book=100", "model.width=8"), "ple": ("model.expert_layers=[8]",)}


def grown(fields: tuple[Field, ...] = tiny.FIELDS, sizes: dict[str, int] = SIZES, **changed: float) -> Schema:
    """The schema of new days: larger sizes; `changed` of `age`."""
    return tiny.schema(
        [
            field.model_copy(
                update={"size": sizes.get(field.name, field.size)} | (changed if field.name == "age" else {})
            )
            for field in fields
        ]
    )


def extend(path: Path, days: Path, schema: Schema, word: str = "new") -> Path:
    """New days: data of this schema whose dictionaries go on where those of earlier days end."""
    tiny.prepare(path, schema, seed=1)
    for file in (days / "dictionaries").iterdir():
        known, size = Dictionary.load(file), schema.by_name[file.stem].size
        known.extended(f"{word} {i}" for i in range(size - known.size)).save(path / "dictionaries" / file.name)
    return path


def arguments(data: Path, out: Path, *more: str, model: str = "dtn") -> list[str]:
    chosen = [part for setting in (*SMALL, *FAST.get(model, ())) for part in ("--set", setting)]
    return ["train", "--data", str(data), "--model", model, "--out", str(out), "--device", "cpu", *chosen, *more]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """days/ and the run dtn/ on them; new/ days that extend them."""
    folder = tmp_path_factory.mktemp("warm")
    tiny.prepare(folder / "days", tiny.schema())
    extend(folder / "new", folder / "days", grown())
    assert not main(arguments(folder / "days", folder / "dtn"))
    return folder


def begun(folder: Path, *settings: str, data: str = "new", model: str = "dtn", run: str = "dtn") -> Ranker:
    """A model that has just begun with the weights of a run."""
    new = Prepared.open(folder / data)
    recipe = read_recipe(model, assignments=[*SMALL, *FAST.get(model, ()), *settings])
    torch.manual_seed(5)
    fresh = build_model(model, new.schema, recipe.model)
    start_from(folder / run, fresh, model, recipe, new)
    return fresh.eval()


def scores(model: Ranker, *inputs: torch.Tensor) -> torch.Tensor:
    """Raw outputs: what comes before calibration."""
    with torch.inference_mode():
        return model.raw(*inputs)


@pytest.mark.parametrize("tables", ["one", "field"])
def test_rows_that_the_run_knows_are_scored_as_it_scores_them(tables: str, folder: Path) -> None:
    inputs = tiny.inputs(tiny.schema(), items=50, requests=9)
    warm = begun(folder, f"model.tables={tables}")
    assert isinstance(warm.request.table, FieldTables) == (tables == "field")
    assert torch.equal(scores(warm, *inputs), scores(load_checkpoint(folder / "dtn").model, *inputs))


def test_a_new_id_begins_as_a_missing_value(folder: Path) -> None:
    warm = begun(folder)
    for side in (warm.request, warm.item):
        for name, rows in zip(side.sizes_of, torch.split(side.table.weight, list(side.sizes_of.values())), strict=True):
            known = tiny.schema().by_name[name].size
            assert len(rows) == SIZES.get(name, known)
            assert torch.equal(rows[known:], rows[:1].expand(len(rows) - known, -1))


@pytest.mark.parametrize("model", [name for name in MODELS if name != "dtn"])
def test_every_model_begins_with_all_weights(model: str, folder: Path) -> None:
    run, inputs = f"of {model}", tiny.inputs(tiny.schema(), items=20, requests=9)
    assert not main([*arguments(folder / "days", folder / run, model=model), "--set", "epochs=1"])
    warm = begun(folder, model=model, run=run)
    assert torch.equal(scores(warm, *inputs), scores(load_checkpoint(folder / run).model, *inputs))


def test_a_warm_run_goes_on_from_the_weights_and_keeps_what_was_measured(folder: Path, tmp_path: Path) -> None:
    slow = ["--set", "learning_rate=1e-9"]
    assert not main([*arguments(folder / "new", tmp_path / "warm", *slow), "--from", str(folder / "dtn")])
    run, warm = (load_file(path / "model.safetensors") for path in (folder / "dtn", tmp_path / "warm"))
    apart = ("table.weight", ".sizes", ".offsets", ".calibration.line")
    for name, weight in run.items():
        if not name.endswith(apart):
            torch.testing.assert_close(warm[name], weight, rtol=1e-5, atol=1e-6)
    assert not torch.equal(warm["heads.0.calibration.line"], run["heads.0.calibration.line"])
    config = load_checkpoint(tmp_path / "warm").config
    assert config.warm_start is not None
    assert config.warm_start.run == str((folder / "dtn").resolve())
    assert config.warm_start.weights == sha256(folder / "dtn" / "model.safetensors")


def test_new_ids_are_told(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([*arguments(folder / "new", tmp_path / "warm"), "--from", str(folder / "dtn")])
    assert "new ids: user 9, likes 2, item 4\n" in capsys.readouterr().out


def test_a_run_may_go_on_on_its_own_data(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not main([*arguments(folder / "days", tmp_path / "warm"), "--from", str(folder / "dtn")])
    assert "new ids: none" in capsys.readouterr().out


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT, as Ctrl-C does, in the middle of a step."""
    steps = iter(range(1, 1000))

    def interrupted(model: Ranker, losses: torch.Tensor) -> None:
        if next(steps) == step:
            signal.raise_signal(signal.SIGINT)
        losses.sum().backward()  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Ranker, "backward", interrupted)


def test_a_warm_run_is_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start = ["--from", str(folder / "dtn")]
    assert not main([*arguments(folder / "new", tmp_path / "whole"), *start])
    with monkeypatch.context() as patch:
        interrupt_at(5, patch)
        assert run_command(lambda: main([*arguments(folder / "new", tmp_path / "run"), *start])) == 130
    with pytest.raises(ConfigError, match=r"a run with --from = [0-9a-f]{64}, not None"):
        main([*arguments(folder / "new", tmp_path / "run"), "--resume"])
    torch.manual_seed(99)
    assert not main([*arguments(folder / "new", tmp_path / "run"), *start, "--resume"])
    one, other = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "run"))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    assert load_checkpoint(tmp_path / "run").config.warm_start is not None


def test_a_refusal_leaves_what_can_be_resumed(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(5, patch)
        assert run_command(lambda: main(arguments(folder / "days", tmp_path / "run"))) == 130
    with pytest.raises(ConfigError, match="not a training run"):
        main([*arguments(folder / "days", tmp_path / "run"), "--from", str(tmp_path / "nowhere")])
    with pytest.raises(ConfigError, match=r"model\.embedding is 4 in the run and 8 here"):
        main(
            [*arguments(folder / "days", tmp_path / "run", "--set", "model.embedding=8"), "--from", str(folder / "dtn")]
        )
    assert not main([*arguments(folder / "days", tmp_path / "run"), "--resume"])


def test_another_model_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="dtn: is a dtn, not a ple; give --model dtn"):
        begun(folder, model="ple")


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("model.embedding=8", "model.embedding is 4 in the run and 8 here"),
        ("model.memonet.code_book=50", "model.memonet.code_book is 100 in the run and 50 here"),
        ("model.modules=[masknet]", "model.modules is .* in the run and .'masknet'. here"),
    ],
)
def test_another_shape_is_refused(setting: str, told: str, folder: Path) -> None:
    with pytest.raises(ConfigError, match=f"^--from .*dtn: {told}; give the same$"):
        begun(folder, setting)


def test_settings_without_a_shape_may_change(folder: Path) -> None:
    begun(folder, "model.dropout=0.1", "model.field_dropout=0.1", "model.calibration=isotonic", "batch_size=9")


def test_other_tasks_are_refused(folder: Path, tmp_path: Path) -> None:
    tasks = (tiny.CLICK, tiny.BUY.model_copy(update={"space": "all"}))
    extend(tmp_path / "new", folder / "days", grown().model_copy(update={"tasks": tasks}))
    shutil.copytree(folder / "dtn", tmp_path / "dtn")
    with pytest.raises(ConfigError, match=r"cvr \(binary, space ctr\), those of the data .* cvr \(binary, space all\)"):
        begun(tmp_path)


def test_data_of_another_meaning_are_refused(folder: Path, tmp_path: Path) -> None:
    fields = tuple(f.model_copy(update={"lineage": "other"}) if f.name == "user" else f for f in tiny.FIELDS)
    extend(tmp_path / "new", folder / "days", grown(fields))
    shutil.copytree(folder / "dtn", tmp_path / "dtn")
    with pytest.raises(ConfigError, match=r"dictionary of field 'user' is .* or data that --extend them"):
        begun(tmp_path)


def test_data_older_than_the_run_are_refused(folder: Path, tmp_path: Path) -> None:
    extend(tmp_path / "new", folder / "days", grown(sizes=SIZES | {"item": 10}))
    shutil.copytree(folder / "dtn", tmp_path / "dtn")
    with pytest.raises(ConfigError, match=r"knows 11 ids of field 'item' and .* has 10: these data are older"):
        begun(tmp_path)


def test_data_measured_anew_are_refused(folder: Path, tmp_path: Path) -> None:
    extend(tmp_path / "new", folder / "days", grown(mean=1.5))
    shutil.copytree(folder / "dtn", tmp_path / "dtn")
    with pytest.raises(ConfigError, match=r"mean of field 'age' is 1\.0 in the run and 1\.5 in .*--extend"):
        begun(tmp_path)


def test_data_that_extend_the_same_data_apart_are_refused(folder: Path, tmp_path: Path) -> None:
    extend(tmp_path / "new", folder / "days", grown(), word="another")
    main([*arguments(folder / "new", tmp_path / "dtn"), "--set", "epochs=1"])
    with pytest.raises(ConfigError, match=r"ids of field '(user|likes|item)' mean other values"):
        begun(tmp_path)


def test_memonet_pairs_the_fields_that_it_paired(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "days", tmp_path / "days")
    main([*arguments(folder / "days", tmp_path / "dtn"), "--set", "model.memonet.fields=2", "--set", "epochs=1"])
    extend(tmp_path / "new", folder / "days", grown(sizes=SIZES | {"shelf": 40}))
    with pytest.raises(ConfigError, match=r"pairs user, item in MemoNet, .* user, shelf; .*fields=\[user, item\]"):
        begun(tmp_path, "model.memonet.fields=2")
    begun(tmp_path, "model.memonet.fields=[user, item]")


def test_labels_are_checked_though_their_scale_stays(tmp_path: Path) -> None:
    fields = (Field(name="user", side=Side.USER, size=9), Field(name="n", side=Side.USER, kind=Kind.NUMERIC))
    schema = Schema(fields=fields, tasks=(Task(name="spend", label="s", kind="continuous"),))
    tiny.prepare(tmp_path / "data", schema)
    options = ["--set", "model.regression.spend=ziln"]
    main([*arguments(tmp_path / "data", tmp_path / "run", *options, model="ple")])
    for file in (tmp_path / "data" / "interactions").glob("*/*.parquet"):
        spent = pl.col("label:spend") * 100
        pl.read_parquet(file).with_columns(spent, pl.col("n") * 50).write_parquet(file)
    start = ["--from", str(tmp_path / "run")]
    main([*arguments(tmp_path / "data", tmp_path / "warm", *options, model="ple"), *start])
    run, warm = (load_file(tmp_path / name / "model.safetensors") for name in ("run", "warm"))
    for name in ("heads.0.mean", "heads.0.scale", "request.numbers.knots"):
        assert torch.equal(run[name], warm[name])
    for file in (tmp_path / "data" / "interactions").glob("train/*.parquet"):
        pl.read_parquet(file).with_columns(pl.col("label:spend") - 1).write_parquet(file)
    with pytest.raises(DataError, match="the smallest label is -1"):
        main([*arguments(tmp_path / "data", tmp_path / "other", *options, model="ple"), *start])


def test_runs_written_before_there_were_warm_starts_are_read(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "dtn", tmp_path / "dtn")
    config = json.loads((tmp_path / "dtn" / "config.json").read_bytes())
    del config["warm_start"]
    (tmp_path / "dtn" / "config.json").write_text(json.dumps(config))
    assert load_checkpoint(tmp_path / "dtn").config.warm_start is None


def test_a_warm_start_is_better_than_a_cold_one_after_as_little_training(tmp_path: Path) -> None:
    tiny.prepare(tmp_path / "days", tiny.schema(), rows=3000)
    extend(tmp_path / "new", tmp_path / "days", grown())
    main([*arguments(tmp_path / "days", tmp_path / "learnt", "--set", "epochs=5", model="ple")])
    few = ["--set", "epochs=1", "--set", "learning_rate=1e-3"]
    main([*arguments(tmp_path / "new", tmp_path / "cold", *few, model="ple")])
    main([*arguments(tmp_path / "new", tmp_path / "warm", *few, model="ple"), "--from", str(tmp_path / "learnt")])
    cold, warm = (load_checkpoint(tmp_path / name).metrics["test"]["ctr"] for name in ("cold", "warm"))
    assert "auc" in cold
    assert "auc" in warm
    assert cold["auc"] is not None
    assert warm["auc"] is not None
    assert warm["auc"] > cold["auc"] + 0.1  # the error of a difference is 0.04
