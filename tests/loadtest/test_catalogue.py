"""Reading what is loaded."""

import json
import shutil
from pathlib import Path

import pytest

from contract.errors import BundleError, ConfigError, StoreError
from loadtest.catalogue import read_catalogue
from tests.loadtest.conftest import ITEMS, USERS, Loaded


def test_ids_of_the_live_generation_are_read(loaded: Loaded) -> None:
    catalogue = read_catalogue(loaded.bundles, loaded.redis, "twinscore", 1_000)
    assert catalogue.users == sorted(f"new:{i}" for i in range(USERS))
    assert catalogue.items == sorted(f"new:{i}" for i in range(ITEMS))
    assert [task.name for task in catalogue.tasks["ple"]] == ["ctr", "cvr"]


def test_at_most_so_many_ids_are_read(loaded: Loaded) -> None:
    catalogue = read_catalogue(loaded.bundles, loaded.redis, "twinscore", 7)
    assert (len(catalogue.users), len(catalogue.items)) == (7, 7)
    with pytest.raises(ConfigError, match="--ids"):
        read_catalogue(loaded.bundles, loaded.redis, "twinscore", 0)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:9", "unix:///nowhere/redis.sock", "not-a-url"])
def test_unreachable_redis_is_named(loaded: Loaded, url: str) -> None:
    with pytest.raises(StoreError, match=url):
        read_catalogue(loaded.bundles, url, "twinscore", 7)


def test_folder_without_bundles_is_named(loaded: Loaded, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundles"):
        read_catalogue(tmp_path / "empty", loaded.redis, "twinscore", 7)


def test_altered_bundle_is_refused(loaded: Loaded, tmp_path: Path) -> None:
    shutil.copytree(loaded.bundles, tmp_path / "bundles")
    schema = tmp_path / "bundles" / "ple" / "1" / "schema.json"
    schema.write_text(json.dumps(json.loads(schema.read_text()), indent=3))
    with pytest.raises(BundleError, match="altered"):
        read_catalogue(tmp_path / "bundles", loaded.redis, "twinscore", 7)
