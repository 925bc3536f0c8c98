"""Values change within a text, and nothing else does."""

import json

import pytest

from contract.errors import ConfigError
from service.experiments.change.editing import edited, killed, renumbered
from service.experiments.source import parse_experiments
from tests.service.conftest import EXPERIMENTS

COMMENTED = EXPERIMENTS.replace("version: 7", "# of the team\nversion: 7   # raise it").replace(
    "- key: dtn-vs-ple\n", "- key: dtn-vs-ple  # the key\n"
)


def test_the_version_alone_changes() -> None:
    assert renumbered(COMMENTED, 12) == COMMENTED.replace("version: 7 ", "version: 12 ")


def test_a_kill_adds_one_line_and_then_changes_it() -> None:
    config = parse_experiments(COMMENTED, "x").config
    text = killed(COMMENTED, config, "dtn-vs-ple", 8)
    added = set(text.splitlines()) - set(COMMENTED.splitlines())
    assert added == {"version: 8   # raise it", "        killed: true"}
    assert len(text.splitlines()) == len(COMMENTED.splitlines()) + 1
    after = parse_experiments(text, "x").config
    experiment = after.experiment("dtn-vs-ple")
    assert experiment is not None
    assert experiment.killed
    assert edited(text, {("layers", 0, "experiments", 0, "killed"): False}) == text.replace("true", "false")


def test_json_stays_json() -> None:
    config = parse_experiments(EXPERIMENTS, "x").config
    text = json.dumps(config.model_dump(mode="json", exclude_unset=True), indent=2)
    after = json.loads(killed(text, config, "dtn-vs-ple", 8))
    assert (after["version"], after["layers"][0]["experiments"][0]["killed"]) == (8, True)


def test_texts_that_need_quotes_get_them() -> None:
    text = edited("a: {b: 1}\n", {("a", "b"): "no", ("a", "c"): "x: y"})
    assert text == "a: {\"c\": 'x: y', b: 'no'}\n"


@pytest.mark.parametrize("place", [("x", "y"), ("layers", 3, "name")])
def test_a_place_that_is_not_there_is_an_error(place: tuple[str | int, ...]) -> None:
    with pytest.raises(ConfigError, match="to edit"):
        edited(EXPERIMENTS, {place: 1})


def test_strings_in_json_stay_quoted() -> None:
    text = '{"version": 1, "layers": [{"name": "a", "salt": "s.1"}]}'
    changed = edited(text, {("version",): 2, ("layers", 0, "salt"): "s.2", ("layers", 0, "hash"): "unleash"})
    assert json.loads(changed) == {"version": 2, "layers": [{"name": "a", "salt": "s.2", "hash": "unleash"}]}
