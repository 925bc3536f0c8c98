"""The configuration in force in this process, and how it changes.

Redis says what is in force everywhere. While it is down the last good configuration stays, and an edit of the file or a
kill holds here until it can be published. service/experiments/change/following.py brings what others change.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from contract.errors import BundleError, ConfigError
from service.experiments.assignment import Assignment
from service.experiments.change.choice import Choice, by_file, choose, otherwise, stays
from service.experiments.change.editing import killed, renumbered
from service.experiments.change.following import Following
from service.experiments.change.versions import UNREACHABLE, Conflict, Head, Version, Versions, entry
from service.experiments.source import Source, parse_experiments, read_experiments
from service.metrics import Metrics
from service.scoring.plan import Plan
from service.scoring.ranking import check_ranking
from service.scoring.registry import Served
from service.scoring.shadow import check_shadows
from service.scoring.shelf import Shelf
from service.settings import Settings

_TIMEOUT = 0.5  # of a command to Redis, seconds


class Live:
    """Holds the plan in force; `hand_on` gives a new one to whoever scores."""

    def __init__(self, settings: Settings, metrics: Metrics, shelf: Shelf, hand_on: Callable[[Plan], None]) -> None:
        self._settings, self._metrics, self.shelf, self._hand_on = settings, metrics, shelf, hand_on
        self._redis = Redis.from_url(
            settings.redis_url or "", protocol=2, socket_timeout=_TIMEOUT, socket_connect_timeout=_TIMEOUT,
            retry=Retry(NoBackoff(), 0), driver_info=None,
        )  # fmt: skip
        self.versions = Versions(self._redis, settings.redis_prefix)
        self.following = Following(self, settings, metrics)
        self.plan: Plan | None = None
        self.author, self.note = "", ""  # of the plan
        self._kills: dict[str, tuple[int, str]] = {}  # by experiment, its phase and why; not published yet

    @property
    def source(self) -> Source:
        """The configuration in force; there is one once `start` has ended."""
        assert self.plan is not None
        return self.plan.source

    @property
    def models(self) -> Mapping[str, Served]:
        """Those of the plan in force; none before there is one."""
        return {} if self.plan is None else self.plan.models

    async def start(self) -> None:
        """Choose, load and adopt the first plan, then follow. TwinscoreError where there is nothing to serve."""
        if not self._settings.live:
            source = await asyncio.to_thread(read_experiments, self._settings.experiments)
            self.adopt(await self.prepared(source), by_file(self._settings.experiments))
            return
        head = None
        with suppress(*UNREACHABLE):
            head = await self.versions.head()
        self.following.look()
        first, plan = await self._first(head)
        self.adopt(plan, first.author)
        await self.following.start(first, reachable=head is not None)

    async def _first(self, head: Head | None) -> tuple[Choice, Plan]:
        """The highest version whose models load; the error of the first where none does."""
        file, state = self._settings.experiments, self._settings.state
        first = await asyncio.to_thread(choose, file, state, head)
        try:
            return first, await self.prepared(first.source)
        except (BundleError, ConfigError) as error:
            second = await asyncio.to_thread(otherwise, file, state, head, first, error)
            if second is None:
                raise
            with suppress(BundleError, ConfigError):
                return second, await self.prepared(second.source)
            raise

    async def change(self, text: str, origin: str, author: str, note: str = "", *, publish: bool = True) -> Version:
        """Publish a text everywhere and adopt it here; or only say what would be published.

        ConfigError and BundleError say what is wrong with it, Conflict that another came first; or one of UNREACHABLE.
        """
        source = await asyncio.to_thread(parse_experiments, text, origin)
        head = await self.versions.head()
        base = await asyncio.to_thread(self.base, head)
        if source.config.version <= base.config.version:
            raise Conflict(
                f"version {base.config.version} is in force; send yours as version {base.config.version + 1}"
            )
        await asyncio.to_thread(stays, base, source)
        if publish:
            return await self.publish(source, author, note, head)
        await self.prepared(source)
        return entry(source, author, note, head.last)

    async def rollback(self, number: int, author: str, note: str = "") -> Version | None:
        """Publish an old version again, under a new number; None where there was none. It may move users back."""
        old, head = await self.versions.version(number), await self.versions.head()
        if old is None or old.text is None:
            return None
        base = await asyncio.to_thread(self.base, head)
        text = renumbered(old.text, base.config.version + 1)
        source = await asyncio.to_thread(parse_experiments, text, f"rollback to version {number}")
        said = [f"rollback to version {number}", *([note] if note else [])]
        try:
            await asyncio.to_thread(stays, base, source)
        except ConfigError as error:
            said.append(f"it moves users: {error}")
        return await self.publish(source, author, "; ".join(said), head)

    async def kill(self, key: str, why: str) -> None:
        """End an experiment: here at once, everywhere as soon as Redis answers. Done twice it does nothing more."""
        experiment = None if self.plan is None else self.source.config.experiment(key)
        if experiment is None or experiment.killed:
            return
        self._kills[key] = experiment.phase, why
        source = _killed(self.source, key)
        self.adopt(Plan(source, Assignment(source.config), self.models), "guardrail", f"{key}: {why}")
        if not self._settings.live:
            return
        with suppress(Conflict, *UNREACHABLE):  # the next poll tries again
            await self.publish_kills()

    async def publish_kills(self) -> None:
        """Publish what was killed here, unless it has been already or is another phase by now."""
        for key, (phase, why) in list(self._kills.items()):
            head, mine = await self.versions.head(), self.source
            last = await asyncio.to_thread(published, head)
            if last is None or last.config.version < mine.config.version:
                await self.versions.publish(mine, self.author, self.note, head)
            elif (now := last.config.experiment(key)) and now.phase == phase and not now.killed:
                await self.publish(_killed(last, key), "guardrail", f"{key}: {why}", head)
            self._kills.pop(key, None)

    def base(self, head: Head) -> Source:
        """What an edit replaces: the newest that was published, or what is in force here where that is newer."""
        last = published(head)
        return self.source if last is None or last.config.version < self.source.config.version else last

    async def publish(self, source: Source, author: str, note: str, head: Head) -> Version:
        """Load its models, publish, adopt."""
        plan = await self.prepared(source)
        version = await self.versions.publish(source, author, note, head)
        self.adopt(replace(plan, source=replace(source, origin=f"version {version.version}")), author, note)
        return version

    async def prepared(self, source: Source) -> Plan:
        """A plan whose models are loaded; BundleError or ConfigError where one does not load, or fit."""
        models = await self.shelf.fetch(source, self.models)
        try:
            check_ranking(source.config, models)
            check_shadows(source.config, models)
        except ConfigError as error:
            raise ConfigError(f"{source.origin}: {error}") from None
        return Plan(source, await asyncio.to_thread(Assignment, source.config), models)

    def adopt(self, plan: Plan, author: str, note: str = "") -> None:
        """Put a plan in force here, unless a newer one came while its models were loaded."""
        if self.plan is not None and plan.source.config.version < self.source.config.version:
            return
        self._hand_on(plan)
        self.plan, self.author, self.note = plan, author, note
        self._metrics.config_version.set(plan.source.config.version)

    async def close(self) -> None:
        """Follow no more."""
        await self.following.close()
        await self._redis.aclose()


def published(head: Head) -> Source | None:
    """The newest of the history; ConfigError where this release cannot read it."""
    if head.last is None:
        return None
    return parse_experiments(head.last.text or "", f"version {head.last.version}")


def _killed(source: Source, key: str) -> Source:
    version = source.config.version + 1
    return parse_experiments(killed(source.text, source.config, key, version), f"version {version}")
