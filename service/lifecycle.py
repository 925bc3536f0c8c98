"""What the app holds from start to end: experiments, store, models. Models load while the port is open already."""

import asyncio
import threading
from time import perf_counter

from service.errors import NOT_READY, ServiceProblem
from service.experiments.assignment import Assignment
from service.experiments.log import open_log
from service.experiments.source import read_experiments
from service.garbage import Garbage
from service.metrics import Metrics
from service.scoring.engine import check_device
from service.scoring.pipeline import Pipeline
from service.scoring.plan import Plan
from service.scoring.registry import Served, load_models, serve_models
from service.scoring.store import Store
from service.settings import Settings


class Service:
    """The resources of one app. Raises ConfigError at once for what can be checked at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.garbage = Garbage(self.metrics.registry)
        check_device(settings.device)
        self.source = read_experiments(settings.experiments)
        self.assignment = Assignment(self.source.config)
        self.store = Store(settings.redis_url, settings.redis_prefix, settings.redis_timeout_ms)
        self.log = open_log(settings, self.metrics)
        self.models: dict[str, Served] = {}
        self.pipeline: Pipeline | None = None
        self.failure: Exception | None = None
        self.loaded = asyncio.Event()  # set when loading has ended, well or not
        self.load_seconds = 0.0
        self.draining = False  # told to end; requests that are here are answered
        self._stop = threading.Event()
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load; `loaded` says when that ended."""
        self.log.start()
        self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        started = perf_counter()
        try:
            references = {name: self.source.where(place) for name, place in self.source.config.models().items()}
            models = await asyncio.to_thread(load_models, references, self.settings, self._stop)
            self.models = serve_models(models, self.settings, self.metrics)
            plan = Plan(self.source, self.assignment, self.models)
            self.pipeline = Pipeline(self.settings, plan, self.store, self.metrics, self.log)
            self.garbage.settle()
        except Exception as error:  # kept for whoever started us: a thread of the loop has nobody to raise to
            self.failure = error
        finally:
            self.load_seconds = perf_counter() - started
            self.loaded.set()

    def ready_pipeline(self) -> Pipeline:
        """The pipeline; a problem until it is there."""
        if self.pipeline is None:
            raise ServiceProblem(NOT_READY, "models are being loaded" if self.failure is None else "no model to serve")
        return self.pipeline

    async def close(self) -> None:
        """End what was started."""
        self._stop.set()
        if self._loading is not None:
            await self._loading
        for served in self.models.values():
            served.batcher.close()
        await self.log.close()
        await self.store.close()
        self.models, self.pipeline = {}, None  # tables of columns, which a cycle might keep for a while
        self.garbage.release()
