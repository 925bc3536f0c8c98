"""Planted data sets, and what was found in them."""

from pathlib import Path

import pytest

from tests.training.describe.planted import Planted, plant
from training.describe.command import describe
from training.describe.findings import Findings


@pytest.fixture(scope="session")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(_new(tmp_path_factory, "clean"))


@pytest.fixture(scope="session")
def leaking(tmp_path_factory: pytest.TempPathFactory) -> Planted:
    return plant(_new(tmp_path_factory, "leaking"), leaks=True)


@pytest.fixture(scope="session")
def found(clean: Planted) -> Findings:
    return describe(clean.data)


@pytest.fixture(scope="session")
def leaks(leaking: Planted) -> Findings:
    return describe(leaking.data)


def _new(factory: pytest.TempPathFactory, name: str) -> Path:
    return factory.mktemp(name) / "data"
