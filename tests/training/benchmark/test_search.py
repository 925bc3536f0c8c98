"""The search: alike for all models, and the same after an interruption."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from training.benchmark.search import SPACE, Trial, assignments, best, propose, read_trials, space, write_trial
from training.config import read_recipe
from training.models import MODELS

DIMENSIONS = {
    "learning_rate": {"low": 1e-4, "high": 1e-1, "log": True},
    "batch_size": [32, 64],
    "model.tower": [[8], [8, 4]],
    "model.levels": {"low": 1, "high": 3},
}


def score(settings: dict[str, object]) -> float:
    """Best at a learning rate of 1e-2."""
    rate = settings.get("learning_rate", 1e-3)
    assert isinstance(rate, float)
    return -abs(rate - 1e-2)


def search(trials: int, done: list[Trial]) -> list[Trial]:
    recipe, done = read_recipe("ple"), list(done)
    while len(done) < trials:
        settings = propose(DIMENSIONS, done, recipe)
        done.append(Trial(number=len(done), settings=settings, score=score(settings)))
    return done


def test_the_first_trial_is_the_recipe_and_the_others_lie_in_the_space() -> None:
    first, *others = search(12, [])
    assert first.settings == {}
    for trial in others:
        assert set(trial.settings) == set(DIMENSIONS)
        assert 1e-4 <= trial.settings["learning_rate"] <= 1e-1
        assert trial.settings["batch_size"] in (32, 64)
        assert trial.settings["model.tower"] in ([8], [8, 4])
        assert trial.settings["model.levels"] in (1, 2, 3)
    assert len({trial.settings["learning_rate"] for trial in others}) == 11


def test_a_search_cut_short_goes_on_as_if_it_had_not_been(tmp_path: Path) -> None:
    whole = search(9, [])
    for trial in whole[:4]:
        write_trial(tmp_path, trial)
    assert search(9, read_trials(tmp_path)) == whole


def test_scores_guide_it() -> None:
    late = [trial.settings["learning_rate"] for trial in search(40, [])[25:]]
    assert sum(3e-3 < rate < 3e-2 for rate in late) > 8  # a third of the log range, so 5 of 15 by chance


def test_the_best_is_the_first_of_equals_and_failures_do_not_count() -> None:
    trials = [
        Trial(number=0, settings={}, error="diverged"),
        Trial(number=1, settings={}, score=0.5),
        Trial(number=2, settings={}, score=0.7),
        Trial(number=3, settings={}, score=0.7),
    ]
    found = best(trials)
    assert found is not None
    assert found.number == 2
    assert best(trials[:1]) is None
    assert propose(DIMENSIONS, trials, read_recipe("ple"))  # failures neither stop it nor guide it


@pytest.mark.parametrize("model", MODELS)
def test_the_space_on_file_fits_each_model(model: str) -> None:
    dimensions = space(model)
    assert {"learning_rate", "batch_size", "model.dropout", "weight_decay", "table_decay"} <= set(dimensions)
    assert len(dimensions) <= 7
    first = Trial(number=0, settings={}, score=0.5)
    for number in range(1, 4):
        done = [first, *(Trial(number=k, settings={}, score=0.4) for k in range(1, number))]
        read_recipe(model, assignments=assignments(propose(dimensions, done, read_recipe(model))))


def test_what_is_set_is_not_tuned() -> None:
    assert "batch_size" not in space("ple", {"batch_size"})


def test_a_broken_space_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text("ple: {}")
    with pytest.raises(ConfigError, match="not a search space"):
        space("ple", path=tmp_path / "space.yaml")
    done = [Trial(number=0, settings={}, score=0.5)]
    with pytest.raises(ConfigError, match="'epochs' needs a list of choices, or low and high"):
        propose({"epochs": {"low": 3}}, done, read_recipe("ple"))
    assert SPACE.is_file()
