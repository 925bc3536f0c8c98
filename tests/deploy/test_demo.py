"""The demonstration in the repository fits itself: what `docker compose up` serves in a fresh clone."""

from pathlib import Path

import pytest
import yaml

from contract.bundle import latest_version, read_bundle
from contract.schema import read_schema

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "deploy" / "demo"
ARMS = [
    arm["model"]
    for layer in yaml.safe_load((ROOT / "deploy" / "experiments.yaml").read_text())["layers"]
    for experiment in layer["experiments"]
    for arm in experiment["arms"]
]


@pytest.mark.parametrize("model", ARMS)
def test_every_arm_has_a_whole_bundle_that_reads_the_loaded_rows(model: str) -> None:
    bundle = read_bundle(latest_version(DEMO / "bundles", model))
    assert bundle.schema.fingerprint() == read_schema(DEMO / "data" / "schema.json").fingerprint()


def test_tables_for_the_loader_are_there() -> None:
    assert (DEMO / "data" / "prepared.json").is_file()
    assert list((DEMO / "data" / "users").glob("*.parquet"))
    assert list((DEMO / "data" / "items").glob("*.parquet"))


def test_demonstration_stays_small() -> None:
    """A clone carries every version of it for ever."""
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 20e6
