"""Models in memory, shared by the plans that name them; one that no plan names any more leaves after a while."""

import asyncio
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from time import monotonic

from service.experiments.source import Source
from service.metrics import Metrics
from service.scoring.batching import Batcher
from service.scoring.registry import Model, Served, load_models, serve_model
from service.settings import Settings

KEEP_SECONDS = 30.0  # a rollback finds the model warm


class Shelf:
    """Loads models in a thread. Whoever scores holds its model: one that left is closed when nobody does any more."""

    def __init__(self, settings: Settings, metrics: Metrics, keep_seconds: float = KEEP_SECONDS) -> None:
        self._settings, self._metrics, self._keep = settings, metrics, keep_seconds
        self._served: dict[Path, Served] = {}
        self._unnamed: dict[Path, float] = {}  # since when
        self._closing: list[weakref.finalize[[Batcher], Served]] = []
        self._one_at_a_time = asyncio.Lock()
        self._stop = threading.Event()

    async def fetch(self, source: Source, now: Mapping[str, Served]) -> dict[str, Served]:
        """Every model that a configuration names; those of `now` stay the same. BundleError names place and model.

        So `NAME` is the newest version at the time when it is first named, and a change of something else changes none.
        """
        places = source.config.models()
        async with self._one_at_a_time:
            new = {reference: source.where(place) for reference, place in places.items() if reference not in now}
            loaded = {path: served.model for path, served in self._served.items()}
            models = await asyncio.to_thread(load_models, new, self._settings, self._stop, loaded)
            for model in models.values():
                path = model.bundle.path
                self._unnamed.pop(path, None)
                if path not in self._served:
                    self._served[path] = self._opened(model)
        fetched = {reference: self._served[model.bundle.path] for reference, model in models.items()}
        return {reference: served for reference, served in now.items() if reference in places} | fetched

    def _opened(self, model: Model) -> Served:
        served = serve_model(model, self._settings, self._metrics)
        closing = weakref.finalize(served, _close_elsewhere, served.batcher)
        closing.atexit = False
        self._closing = [each for each in self._closing if each.alive] + [closing]
        return served

    def tidy(self, named: Mapping[str, Served]) -> None:
        """Let go of what the plan in force has not named for a while."""
        now, kept = monotonic(), {served.model.bundle.path for served in named.values()}
        for path in list(self._served):
            if path in kept:
                self._unnamed.pop(path, None)
            elif now - self._unnamed.setdefault(path, now) >= self._keep:
                manifest = self._served.pop(path).model.manifest
                del self._unnamed[path]
                self._metrics.unloaded(manifest.model, manifest.version, manifest.fingerprint, manifest.dataset)

    def stop(self) -> None:
        """Begin to load no other model."""
        self._stop.set()

    def close(self) -> None:
        """Close every model, whoever holds it."""
        for closing in self._closing:
            if alive := closing.detach():
                alive[0].batcher.close()
        self._served.clear()


def _close_elsewhere(batcher: Batcher) -> None:
    """In a thread: a run that nobody waits for may go on."""
    threading.Thread(target=batcher.close, name="close-model", daemon=True).start()
