"""A model whose engine does as it is told, in the plan of a running service."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from service.metrics import Metrics
from service.scoring.batching import Batcher
from service.scoring.engine import Engine, Scores
from service.scoring.inputs import Inputs
from service.scoring.plan import Plan
from service.scoring.registry import Served
from tests.service.conftest import Client


class Faulty:
    """An engine around another one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.parallel, self.best_rows = engine.parallel, engine.best_rows
        self.fails = False
        self.seconds = 0.0
        self.runs: list[Inputs] = []

    def run(self, inputs: Inputs) -> Scores:
        """Slow, broken, or well."""
        self.runs.append(inputs)
        if self.seconds:
            time.sleep(self.seconds)
        if self.fails:
            raise RuntimeError("the graph is torn")
        return self._engine.run(inputs)


def fault(client: Client, *references: str) -> list[Faulty]:
    """Put engines that can be broken behind these models, for as long as the plan stays."""
    plan, settings = client.service.plan, client.service.settings
    models, engines = dict(plan.models), []
    for reference in references:
        model = plan.models[reference].model
        engines.append(Faulty(model.engine))
        batcher = Batcher(reference, engines[-1], Metrics(), settings.max_batch_rows, settings.max_waiting_rows)
        models[reference] = Served(replace(model, engine=engines[-1]), batcher)
    adopt(client, Plan(plan.source, plan.assignment, models))
    return engines


def adopt(client: Client, plan: Plan) -> None:
    """Put a plan in force."""

    async def job() -> None:
        client.service.live.adopt(plan, "test")

    client.run(job())


def until(client: Client, said: Callable[[], bool], seconds: float = 10) -> None:
    """Let the app run until it is so; it must become so."""
    deadline = time.monotonic() + seconds
    while not said():
        assert time.monotonic() < deadline
        client.run(asyncio.sleep(0.01))
