"""experiments.yaml: what is refused, and the line that the refusal names."""

from pathlib import Path

import pytest

from contract.errors import ConfigError
from service.experiments.source import read_experiments

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
