"""experiments.yaml: what is refused, and the line that the refusal names."""

import re
from pathlib import Path

import pytest

from contract.errors import ConfigError
from service.experiments.source import parse_experiments, read_experiments

GOOD = """\
version: 3
default_model: ple
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: one
        salt: one.1
        slots: [[0, 100], [200, 300]]
        arms:
          - {name: a, model: ple, weight: 5000}
          - {name: b, model: dtn@v2, weight: 5000}
        overrides: {007: b}
      - key: two
        salt: two.1
        slots:
          - [100, 200]
          - [300, 10000]
        arms:
          - {name: only, model: ple, weight: 10000}
"""


def write(path: Path, text: str) -> Path:
    file = path / "experiments.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_good_file_is_read_as_it_is_written(tmp_path: Path) -> None:
    source = read_experiments(write(tmp_path, GOOD))
    one, two = source.config.layers[0].experiments
    assert source.config.version == 3
    assert one.slots == ((0, 100), (200, 300))
    assert one.overrides == {"007": "b"}  # a key is an id, not an octal number
    assert two.arms[0].weight == 10_000
    assert {name: source.where(place) for name, place in source.config.models().items()} == {
        "ple": f"{source.origin}:2",
        "dtn@v2": f"{source.origin}:12",
    }


def test_the_projects_own_file_is_good() -> None:
    config = read_experiments(Path(__file__).parents[3] / "deploy" / "experiments.yaml").config
    assert {arm.model for arm in config.layers[0].experiments[0].arms} == {"dtn", "ple"}


def test_every_option_in_the_comments_of_the_projects_own_file_is_good() -> None:
    text = (Path(__file__).parents[3] / "deploy" / "experiments.yaml").read_text(encoding="utf-8")
    options = 0
    for line in text.splitlines():
        if match := re.match(r"( *)# ([a-z_]+: .*)", line):  # a whole line
            parse_experiments(text.replace(line, match[1] + match[2]), line)
        elif match := re.match(r" *#   ([a-z]+: \{.*?\})", line):  # of an arm
            parse_experiments(text.replace("weight: 5000}", f"weight: 5000, {match[1]}}}", 1), line)
        options += match is not None
    assert options == 15


BAD = [
    ("[200, 300]", "[50, 60]", 9, "slots [50, 60] of 'one' overlap 'one'"),
    ("- [100, 200]", "- [99, 200]", 17, "slots [99, 200] of 'two' overlap 'one'"),
    ("- [300, 10000]", "- [300, 10001]", 18, "outside 0..10000"),
    ("[200, 300]", "[-1, 0]", 9, "outside 0..10000"),
    ("[200, 300]", "[250, 250]", 9, "empty or outside"),
    ("[200, 300]", "[300, 200]", 9, "empty or outside"),
    ("[[0, 100], [200, 300]]", "[]", 9, "slots"),
    ("model: ple, weight: 5000", "model: ple, weight: 4999", 10, "the weights of 'one' sum to 9999"),
    ("weight: 10000}", "weight: 1e4}", 20, "weight"),
    ("model: ple, weight: 5000", "model: ple, weight: -1", 11, "weight"),
    ("key: two", "key: one", 14, "experiment 'one' appears twice"),
    ("name: b,", "name: a,", 12, "arm 'a' appears twice in 'one'"),
    ("007: b", "007: c", 13, "override of '007': no arm 'c' (a, b)"),
    ("slots: [[0", "slot: [[0", 9, "slot: unknown key"),
    ("salt: one.1", "salt: ranking", 8, "the salt of 'one' is the layer's"),
    ("salt: one.1", "salt: 'one:1'", 8, "salt"),
    ("salt: one.1", "key: again", 8, "appears twice"),
    ("dtn@v2", "../../etc", 12, "model"),
    ("version: 3", "version: 0", 1, "version"),
    ("version: 3", "version: true", 1, "version"),
    ("version: 3", "version: '3'", 1, "version"),
    ("version: 3", "version: 9007199254740992", 1, "version"),
    ("{007: b}", '{"\\ud800": b}', 13, "a key that is no text"),
    ("salt: one.1", "when: \"a == '\\ud800'\"", 8, "half a surrogate pair is no text"),
    ("version: 3", "version: [", 3, "not valid YAML"),
    ("salt: two.1", "salt: *k", 15, "aliases are not used here"),
    ("default_model: ple", "? [a]\n: b", 2, "a key that is no text"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), BAD)
def test_a_mistake_is_refused_by_file_and_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    file = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_experiments(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert message in str(caught.value)


def test_a_second_layer_draws_for_itself(tmp_path: Path) -> None:
    file = write(tmp_path, GOOD + "  - {name: more, salt: more}\n")
    assert [layer.name for layer in read_experiments(file).config.layers] == ["ranking", "more"]


@pytest.mark.parametrize(
    "text", ["", "[]", "just text", "a: b: c", "\x00", "- !!python/object:os.system x", "[" * 5000]
)
def test_what_is_no_configuration_at_all_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_experiments(write(tmp_path, text))
    assert "experiments.yaml" in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file; set TWINSCORE_EXPERIMENTS"):
        read_experiments(tmp_path / "experiments.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_experiments(tmp_path)


FULL = """\
version: 3
default_model: ple
holdout: {salt: holdout, slots: [[0, 500]]}
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: one
        slots: [[0, 5000]]
        control: a
        when: scene == "home"
        start: 2026-01-01T00:00:00Z
        end: 2026-02-01T00:00:00+01:00
        arms:
          - {name: a, weight: 5000}
          - name: b
            model: dtn
            weight: 5000
        guardrails:
          calibration: [0.8, 1.25]
        thompson: {floor: 1000}
        overrides: {qa: b}
      - key: two
        slots: [[5000, 6000]]
        hash: growthbook_v2
        coverage: 4000
        arms: [{name: only, weight: 10000}]
  - name: page
    salt: page
    hash: unleash
    experiments:
      - key: colour
        hash: unleash
        salt: page
        slots: [[0, 5000]]
        arms:
          - {name: red, weight: 1}
          - {name: blue, weight: 2, parameters: {colour: blue}, ranking: {ctr: 1, cvr: 0.5}}
"""
REFUSED = [
    ("control: a", "control: c", 10, "control of 'one': no arm 'c' (a, b)"),
    ('scene == "home"', "scene == home", 11, "condition of 'one': column 10: a literal"),
    ("2026-02-01", "2026-01-01", 13, "the end of 'one' is not after its start"),
    ("2026-02-01T00:00:00+01:00", "2026-02-01T00:00:00", 13, "timezone"),
    ("2026-02-01T00:00:00+01:00", "2026-02-31T00:00:00Z", 13, "not valid YAML: day is out of range for month"),
    ("2026-02-01T00:00:00+01:00", "1800000000", 13, "end: a time with its zone is wanted, such as 2026"),
    ("[0.8, 1.25]", "[1.25, 0.8]", 20, "calibration of 'one': [1.25, 0.8] must be low < high"),
    ("[0.8, 1.25]", "[-1, 0.8]", 20, "must be low < high"),
    ("[0.8, 1.25]", "[0.8, .inf]", 20, "finite number"),
    ("thompson:", "measure: {primary: value}\n        thompson:", 22, "primary must be ctr, cvr or ctcvr"),
    ("floor: 1000", "floor: 5000, hours: .nan", 21, "finite number"),
    ("[{name: only, weight: 10000}]", "[{name: only, weight: 10000}]\n        thompson: {}", 28, "at least two arms"),
    ("growthbook_v2", "eppo_md5", 26, "coverage of 'two' needs hash growthbook_v2"),
    ("coverage: 4000", "overrides: {qa: only}", 26, "override of 'qa' stands in 'one' too"),
    ("[[0, 5000]]\n        arms:", "[[0, 5050]]\n        arms:", 35, "slots [0, 5050] of 'colour': under hash unleash"),
    ("red, weight: 1", "red, weight: 0, model: dtn", 37, "layer 'page' decides the model, which layer 'ranking'"),
    ("blue, weight: 2", "blue, weight: -2", 38, "weight"),
    ("ctr: 1,", "ctr: .inf,", 38, "finite number"),
    ("{ctr: 1,", "{'c t r': 1,", 38, "ranking"),
    ("name: page", "name: ranking", 28, "layer 'ranking' appears twice"),
    ("[[0, 500]]", "[[0, 10001]]", 3, "slots [0, 10001] of the holdout are empty or outside 0..10000"),
    ("salt: ranking", "salt: holdout", 6, "layer 'ranking' has the salt 'holdout' of the holdout"),
    ("salt: page", "salt: ranking", 29, "layer 'page' has the salt 'ranking' of layer 'ranking'"),
    ("salt: page\n        slots", "salt: ranking\n        hash: murmur3\n        slots", 35, "appears twice"),
    ("key: two", "key: two\n        salt: holdout", 24, "'two' has the salt 'holdout' of the holdout"),
    ("key: two", "key: two\n        salt: page", 24, "'two' has the salt 'page' of layer 'page'"),
    ("key: two", "key: two\n        salt: ranking", 24, "the salt of 'two' is the layer's"),
    ("key: two", "key: two\n        salt: 'a:b'", 24, "salt"),
]


@pytest.mark.parametrize(("old", "new", "line", "message"), REFUSED)
def test_every_rule_names_its_line(tmp_path: Path, old: str, new: str, line: int, message: str) -> None:
    assert old in FULL
    file = write(tmp_path, FULL.replace(old, new, 1))
    with pytest.raises(ConfigError) as caught:
        read_experiments(file)
    assert str(caught.value).startswith(f"{file}:{line}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_features_together_are_good(tmp_path: Path) -> None:
    config = read_experiments(write(tmp_path, FULL)).config
    one, two, colour = (experiment for _, experiment in config.placed())
    assert (one.draw_salt, one.control_arm.name, two.coverage) == ("one.1", "a", 4_000)
    assert one.end is not None
    assert one.end.isoformat() == "2026-02-01T00:00:00+01:00"
    assert colour.arms[1].ranking == {"ctr": 1.0, "cvr": 0.5}
    # JSON is YAML: the same text may come by PUT
    assert parse_experiments(config.model_dump_json(), "PUT").config == config


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("blue, weight: 2", "blue, weight: 0"),  # an arm may have nobody
        ("key: two", "key: two\n        salt: one.1"),  # experiments of a layer exclude each other
        ("holdout: {salt: holdout", "holdout: {salt: other"),
        ("when: scene", "when: not scene"),
        ("hash: unleash\n        salt: page", "hash: unleash\n        salt: other"),
    ],
)
def test_what_is_allowed(tmp_path: Path, old: str, new: str) -> None:
    assert old in FULL
    read_experiments(write(tmp_path, FULL.replace(old, new, 1)))


def test_arms_of_two_layers_do_not_share_what_they_set(tmp_path: Path) -> None:
    for part in ("parameters: {colour: red}", "ranking: {ctr: 2}"):
        file = write(tmp_path, FULL.replace("{name: a, weight: 5000}", f"{{name: a, weight: 5000, {part}}}"))
        with pytest.raises(ConfigError, match=r"layer 'page' decides the (parameter 'colour'|ranking), which layer"):
            read_experiments(file)


def test_experiments_of_two_layers_do_not_share_a_salt(tmp_path: Path) -> None:
    text = FULL.replace("hash: unleash\n        salt: page", "salt: one.1").replace("weight: 1}", "weight: 9998}")
    with pytest.raises(ConfigError, match=r":33: 'colour' has the salt 'one.1' of 'one': one would follow the other"):
        read_experiments(write(tmp_path, text))


def test_a_floor_leaves_room_for_every_arm(tmp_path: Path) -> None:
    three = FULL.replace("{name: a, weight: 5000}", "{name: a, weight: 5000}\n          - {name: c, weight: 0}")
    read_experiments(write(tmp_path, three.replace("floor: 1000", "floor: 3333")))
    with pytest.raises(ConfigError, match=r":22: 3 arms of 'one' cannot each have 3334; at most 3333"):
        read_experiments(write(tmp_path, three.replace("floor: 1000", "floor: 3334")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("hello", "1: the file: takes keys and values"),
        ("version: 1\nx: \x00", "2: not valid YAML: special characters are not allowed"),
        ("version: 1\ndefault_model: a\nlayers: [3]\n", "3: layers.0: takes keys and values"),
    ],
)
def test_what_is_no_configuration_at_all_has_a_line_too(tmp_path: Path, text: str, said: str) -> None:
    file = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        read_experiments(file)
    assert str(caught.value) == f"{file}:{said}"
