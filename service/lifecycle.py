"""What the app holds from start to end: experiments, store, models. Models load while the port is open already."""

import asyncio
from collections.abc import Mapping
from time import perf_counter

from service.errors import NOT_READY, ServiceProblem
from service.experiments.arms.guardrails import Guardrails
from service.experiments.assignment import Assignment
from service.experiments.change.live import Live
from service.experiments.log.queue import open_log
from service.experiments.source import Source
from service.garbage import Garbage
from service.metrics import Metrics
from service.scoring.engine import check_device
from service.scoring.pipeline import Pipeline
from service.scoring.plan import Plan
from service.scoring.registry import Served
from service.scoring.shelf import Shelf
from service.scoring.store import Store
from service.settings import Settings


class Service:
    """The resources of one app. Raises ConfigError at once for what can be checked at once."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.garbage = Garbage(self.metrics.registry)
        check_device(settings.device)
        self.store = Store(settings.redis_url, settings.redis_prefix, settings.redis_timeout_ms, settings.features_url)
        self.log = open_log(settings, self.metrics)
        self.shelf = Shelf(settings, self.metrics)
        self.live = Live(settings, self.metrics, self.shelf, self._adopt)
        self.pipeline: Pipeline | None = None
        self.guardrails: Guardrails | None = None
        self.failure: Exception | None = None
        self.loaded = asyncio.Event()  # set when loading has ended, well or not
        self.load_seconds = 0.0
        self.draining = False  # told to end; requests that are here are answered
        self._loading: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to load; `loaded` says when that ended."""
        self.log.start()
        self._loading = asyncio.create_task(self._load())

    async def _load(self) -> None:
        started = perf_counter()
        try:
            await self.live.start()
            self.garbage.settle()
        except Exception as error:  # kept for whoever started us: a thread of the loop has nobody to raise to
            self.failure = error
        finally:
            self.load_seconds = perf_counter() - started
            self.loaded.set()

    def _adopt(self, plan: Plan) -> None:
        if self.pipeline is None:
            self.pipeline = Pipeline(self.settings, plan, self.store, self.metrics, self.log)
            self.guardrails = Guardrails(self.settings, self.pipeline.arms, self.live, self.metrics)
            self.guardrails.start()
        else:
            self.pipeline.adopt(plan)

    @property
    def plan(self) -> Plan:
        """The plan in force; a problem until there is one. Hold it for as long as its models are used."""
        if self.live.plan is None:
            raise self._not_ready()
        return self.live.plan

    @property
    def source(self) -> Source:
        """The configuration in force, with its text."""
        return self.plan.source

    @property
    def assignment(self) -> Assignment:
        """Decides by it."""
        return self.plan.assignment

    @property
    def models(self) -> Mapping[str, Served]:
        """Models of the plan in force by reference; none until there is one."""
        return self.live.models

    def ready_pipeline(self) -> Pipeline:
        """The pipeline; a problem until it is there."""
        if self.pipeline is None:
            raise self._not_ready()
        return self.pipeline

    def ready_guardrails(self) -> Guardrails:
        """What watches the arms; a problem until it is there."""
        if self.guardrails is None:
            raise self._not_ready()
        return self.guardrails

    def _not_ready(self) -> ServiceProblem:
        return ServiceProblem(NOT_READY, "models are being loaded" if self.failure is None else "no model to serve")

    async def close(self) -> None:
        """End what was started."""
        self.shelf.stop()
        if self._loading is not None:
            await self._loading
        if self.guardrails is not None:
            await self.guardrails.close()
        await self.live.close()
        if self.pipeline is not None:
            await self.pipeline.shadows.close()
        self.shelf.close()
        await self.log.close()
        await self.store.close()
        # tables of columns, which a cycle might keep for a while
        self.live.plan, self.pipeline, self.guardrails = None, None, None
        self.garbage.release()
