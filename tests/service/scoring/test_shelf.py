"""Models in memory come when they are named, and leave when nobody holds them."""

import asyncio
import gc
import time
from pathlib import Path

import pytest

from contract.errors import BundleError
from service.experiments.source import Source, parse_experiments
from service.metrics import Metrics
from service.scoring.shelf import Shelf
from service.settings import Settings
from tests.service.bundles import write_tiny_bundle


def naming(model: str) -> Source:
    return parse_experiments(f"version: 1\ndefault_model: {model}\n", "x")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    for seed, name in enumerate(("ple", "dtn"), 1):
        write_tiny_bundle(tmp_path, name, seed)
    return Settings(bundles=tmp_path, threads=1, max_items=100)


def test_a_model_is_loaded_once_and_shared(settings: Settings) -> None:
    shelf = Shelf(settings, Metrics())

    async def job() -> None:
        first, second = await asyncio.gather(shelf.fetch(naming("ple"), {}), shelf.fetch(naming("ple@v1"), {}))
        assert first["ple"] is second["ple@v1"]
        write_tiny_bundle(settings.bundles, "ple", 3, version="v2")
        assert (await shelf.fetch(naming("ple"), first))["ple"] is first["ple"]  # another version changes nothing here
        assert (await shelf.fetch(naming("ple"), {}))["ple"] is not first["ple"]
        with pytest.raises(BundleError, match=r"^x:2: model 'nobody'"):
            await shelf.fetch(naming("nobody"), first)

    asyncio.run(job())
    shelf.close()


def test_one_that_is_unnamed_stays_warm_and_then_leaves(settings: Settings) -> None:
    shelf = Shelf(settings, Metrics(), keep_seconds=0.2)

    async def job() -> None:
        old, new = await shelf.fetch(naming("ple"), {}), await shelf.fetch(naming("dtn"), {})
        batcher, served = old["ple"].batcher, old.pop("ple")
        shelf.tidy(new)
        assert (await shelf.fetch(naming("ple"), {}))["ple"] is served  # named again in time
        shelf.tidy(new)
        await asyncio.sleep(0.25)
        shelf.tidy(new)
        await asyncio.sleep(0.05)
        with batcher.admit(1):  # whoever holds it may use it
            assert served.batcher is batcher
        del served
        gc.collect()
        deadline = time.monotonic() + 5
        while not batcher._closed:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)
        assert not new["dtn"].batcher._closed

    asyncio.run(job())
    shelf.close()
