"""Entries from arguments, and one plan a folder."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from tests.training import tiny
from training.benchmark.plan import FILE, Entry, entries, keep_to, plan_of
from training.datasets.prepared import Prepared


@pytest.fixture
def data(tmp_path: Path) -> Prepared:
    return Prepared.open(tiny.prepare(tmp_path / "data", tiny.schema(), rows=20))


def test_a_variant_has_settings_over_the_tuned_ones_of_its_model() -> None:
    _, variant = entries(["dtn"], ["plain=dtn:model.modules=[mlp,gated_cross],model.tsn=false"], ["epochs=7"])
    assert variant.own == ("model.modules=[mlp,gated_cross]", "model.tsn=false")
    recipe = variant.recipe(["model.tsn=true", "batch_size=64"])
    content = recipe.model_dump()
    assert (recipe.epochs, recipe.batch_size, content["model"]["tsn"]) == (7, 64, False)
    assert variant.plain == Entry(name="dtn", model="dtn", common=("epochs=7",))
    assert variant.fixed == {"epochs"}


@pytest.mark.parametrize(
    ("models", "variants", "told"),
    [
        (["ple", "plee"], [], "model 'plee' is unknown"),
        (["ple"], ["ple=ple:epochs=1"], "'ple' is asked for twice"),
        (["ple"], ["small"], "write NAME=MODEL:key=value"),
        (["ple"], ["small=ple:model.wide=1"], "unknown key 'model.wide'"),
        (["ple"], ["../up=ple:epochs=1"], "name"),
    ],
)
def test_a_typo_is_an_error_before_the_first_run(models: list[str], variants: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        entries(models, variants, [])


def test_more_models_may_join_and_other_data_or_recipes_may_not(data: Prepared, tmp_path: Path) -> None:
    out = tmp_path / "out"
    keep_to(out, plan_of(data, entries(["ple"], [], []), {"ple": {"trials": 3}}))
    keep_to(out, plan_of(data, entries(["dtn"], [], []), {"dtn": {"trials": 3}}))
    keep_to(out, plan_of(data, entries(["ple"], [], []), {"ple": {"trials": 3}}))
    with pytest.raises(ConfigError, match=r"'ple' with another recipe \(epochs 3 → 9\)"):
        keep_to(out, plan_of(data, entries(["ple"], [], ["epochs=9"]), {}))
    with pytest.raises(ConfigError, match=r"another search .*\(trials 3 → 4\)"):
        keep_to(out, plan_of(data, entries(["dtn"], [], []), {"dtn": {"trials": 4}}))
    other = Prepared.open(tiny.prepare(tmp_path / "other", tiny.schema(), rows=20, seed=1))
    with pytest.raises(ConfigError, match="results on other data"):
        keep_to(out, plan_of(other, entries(["ple"], [], []), {}))


def test_folders_that_are_no_benchmark_are_left_alone(data: Prepared, tmp_path: Path) -> None:
    plan = plan_of(data, entries(["ple"], [], []), {})
    with pytest.raises(ConfigError, match="no benchmark"):
        keep_to(data.path, plan)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="is a file"):
        keep_to(tmp_path / "file", plan)
    keep_to(tmp_path / "out", plan)
    (tmp_path / "out" / FILE).write_text("{")
    with pytest.raises(ConfigError, match=FILE):
        keep_to(tmp_path / "out", plan)
