"""--resume goes on bit for bit, after Ctrl-C and after kill -9 wherever it strikes, and refuses another run's state."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from contract.command import run as run_command
from contract.errors import ConfigError
from tests.training import tiny
from training.__main__ import main
from training.checkpoint import load_checkpoint
from training.models import Ranker
from training.resume import Position, Saver

SETTINGS = (
    "batch_size=100", "epochs=4", "model.embedding=4", "learning_rate=1e-2", "patience=20", "model.dropout=0.3",
    "schedule=cosine", "warmup_steps=3", "uncertainty_weighting=true",
)  # fmt: skip
STEPS = 16  # of a whole run: validated after each second one


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.prepare(tmp_path_factory.mktemp("resume") / "data", tiny.schema())


def arguments(data: Path, out: Path, *more: str, settings: tuple[str, ...] = SETTINGS) -> list[str]:
    chosen = [part for setting in settings for part in ("--set", setting)]
    return ["train", "--data", str(data), "--model", "ple", "--out", str(out), "--device", "cpu", *chosen, *more]


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send SIGINT, as Ctrl-C does, in the middle of a step, counted from 1 in this process."""
    steps = iter(range(1, 1000))

    def interrupted(model: Ranker, losses: torch.Tensor) -> None:
        if next(steps) == step:
            signal.raise_signal(signal.SIGINT)
        losses.sum().backward()  # type: ignore[no-untyped-call]

    monkeypatch.setattr(Ranker, "backward", interrupted)


def weights(run: Path) -> bytes:
    return (run / "model.safetensors").read_bytes()


def same(run: Path, other: Path) -> bool:
    """Whether two runs kept the same weights and measured the same."""
    return (
        weights(run) == weights(other) and (run / "metrics.json").read_bytes() == (other / "metrics.json").read_bytes()
    )


@pytest.fixture(scope="module")
def whole(data: Path) -> dict[str, Path]:
    """Runs that nothing interrupted, by how tables are optimised and rows are read."""
    runs = {}
    for name, more in VARIANTS.items():
        runs[name] = data.parent / name
        assert not main(arguments(data, runs[name], *more))
    return runs


VARIANTS = {
    "adamw": (),
    "rowwise": ("--set", "table_optimiser=rowwise_adagrad"),
    "sparse": ("--set", "table_optimiser=sparse_adam", "--set", "clip_norm=0.5"),
    "streamed": ("--stream",),
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("step", [1, 6, 11])
def test_ctrl_c_and_resume_is_as_if_nothing_had_happened(
    step: int, variant: str, data: Path, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, more = tmp_path / "run", VARIANTS[variant]
    with monkeypatch.context() as patch:
        interrupt_at(step, patch)
        assert run_command(lambda: main(arguments(data, out, *more))) == 130
    assert out.exists() == (step > 2)  # nothing to keep before the first validation
    assert position(out).steps == step
    torch.manual_seed(99)  # what another process would start with
    assert not main(arguments(data, out, *more, "--resume"))
    assert same(out, whole[variant])
    assert load_checkpoint(out).config.interrupted is False
    assert not out.with_name("run.unfinished").exists()


def position(out: Path) -> Position:
    with safe_open(out.with_name(f"{out.name}.unfinished") / "state.safetensors", framework="pt") as content:
        return Position.model_validate_json(content.metadata()["position"])


def test_twice_interrupted_is_resumed_twice(
    data: Path, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step, more in ((3, ()), (4, ("--resume",))):
        with monkeypatch.context() as patch:
            interrupt_at(step, patch)
            assert run_command(partial(main, arguments(data, tmp_path / "run", *more))) == 130
    assert position(tmp_path / "run").steps == 7
    assert not main(arguments(data, tmp_path / "run", "--resume"))
    assert same(tmp_path / "run", whole["adamw"])


KILLED = """
import os, signal, sys
import training.resume as resume
from training.__main__ import main
save, saves = resume.save_file, []
def killed(tensors, path, metadata):
    saves.append(path)
    if len(saves) == int(sys.argv[1]):
        if sys.argv[2] == "within":  # half of the file is on disk
            save(tensors, path, metadata)
            whole = path.read_bytes()
            path.write_bytes(whole[: len(whole) // 2])
            os.kill(os.getpid(), signal.SIGKILL)
    if len(saves) > int(sys.argv[1]):
        os.kill(os.getpid(), signal.SIGKILL)
    save(tensors, path, metadata)
resume.save_file = killed
main(sys.argv[3:])
"""


@pytest.mark.parametrize(("save", "moment", "kept"), [(4, "within", 3), (4, "after", 4)])
def test_kill_9_in_a_save_or_after_it_loses_nothing_that_was_saved(
    save: int, moment: str, kept: int, data: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", KILLED, str(save), moment, *arguments(data, out, "--save-every", "1")]
    threads = str(torch.get_num_threads())  # as here: sums of other parts round differently
    ended = subprocess.run(command, capture_output=True, timeout=120, env=os.environ | {"OMP_NUM_THREADS": threads})
    assert ended.returncode == -signal.SIGKILL
    assert position(out).steps == kept
    assert not main(arguments(data, out, "--save-every", "1", "--resume"))
    assert same(out, whole["adamw"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_sigterm_in_another_process_keeps_the_state(data: Path, whole: dict[str, Path], tmp_path: Path) -> None:
    out, long = tmp_path / "run", (*SETTINGS, "epochs=100000")
    command = [sys.executable, "-m", "training", *arguments(data, out, "--save-every", "1", settings=long)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not out.with_name("run.unfinished").joinpath("state.safetensors").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert position(out).steps > 0


@pytest.fixture
def stopped(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        interrupt_at(3, patch)
        assert run_command(lambda: main(arguments(data, tmp_path / "run"))) == 130
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--set", "learning_rate=0.5"), "recipe.learning_rate = 0.01, not 0.5"),
        (("--set", "model.embedding=8"), "recipe.model.embedding = 4, not 8"),
        (("--seed", "3"), "--seed = 0, not 3"),
        (("--stream",), "recipe.memory_rows = 20000000, not 0"),
    ],
)
def test_another_recipe_or_seed_is_refused(more: tuple[str, ...], message: str, data: Path, stopped: Path) -> None:
    with pytest.raises(ConfigError, match=message):
        main(arguments(data, stopped, *more, "--resume"))


def test_other_data_are_refused(stopped: Path, tmp_path: Path) -> None:
    other = tiny.prepare(tmp_path / "other", tiny.schema(), rows=300)
    with pytest.raises(ConfigError, match=r"data.rows.train = 400, not 300"):
        main(arguments(other, stopped, "--resume"))


def test_nothing_to_resume_and_a_damaged_state_are_named(data: Path, stopped: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to resume"):
        main(arguments(data, tmp_path / "never", "--resume"))
    file = stopped.with_name("run.unfinished") / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ConfigError, match=r"state.safetensors: cannot be read"):
        main(arguments(data, stopped, "--resume"))


def test_a_new_run_drops_the_unfinished_one(data: Path, stopped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not main(arguments(data, stopped))
    assert "what was unfinished in" in capsys.readouterr().out
    assert not stopped.with_name("run.unfinished").exists()


def test_the_state_is_tensors_and_json(stopped: Path) -> None:
    file = stopped.with_name("run.unfinished") / "state.safetensors"
    parts = {name.split("/")[0] for name in load_file(file)}
    assert parts == {"weights", "best", "optimiser", "random", "running"}
    assert [path.name for path in file.parent.iterdir() if path.is_file()] == [file.name]
    with safe_open(file, framework="pt") as content:
        assert json.loads(content.metadata()["identity"])["--model"] == "ple"


def test_saves_leave_nothing_else_behind(tmp_path: Path) -> None:
    saver = Saver(tmp_path / "run", {"a": {"b": 1}}, every=1)
    saver.save(Position(steps=3), {"weights": {"w": torch.ones(2)}})
    (saver.folder / ".state.safetensors.1.part").touch()  # of a save that was killed
    state = saver.load()
    assert state.position.steps == 3
    assert state.part("weights")["w"].tolist() == [1, 1]
    assert [path.name for path in saver.folder.iterdir()] == ["state.safetensors"]
