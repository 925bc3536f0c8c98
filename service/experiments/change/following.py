"""What others change: the Redis key and the file are polled; what is wrong is refused, shown, and said once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Literal

from pydantic import AwareDatetime, BaseModel

from contract.errors import BundleError, ConfigError, TwinscoreError
from service.experiments.change.choice import Choice, by_file, keep, replaces
from service.experiments.change.versions import UNREACHABLE, Conflict, Head, Version, said
from service.experiments.change.watched import WatchedFile
from service.experiments.keys import live as live_key
from service.experiments.source import Source, parse_experiments
from service.metrics import Metrics
from service.settings import Settings
from service.voice import Voice

if TYPE_CHECKING:
    from service.experiments.change.live import Live

POLL_SECONDS = 0.5
_AGAIN_SECONDS = 10.0  # until a model that did not load is tried again
Origin = Literal["file", "redis"]


class Refusal(BaseModel):
    """A text that is not taken, and why; what was in force stays."""

    origin: Origin
    reason: str
    time: AwareDatetime


class Following:
    """Polls for one process."""

    def __init__(self, live: "Live", settings: Settings, metrics: Metrics) -> None:
        self._live, self._settings, self._metrics = live, settings, metrics
        self._file = WatchedFile(settings.experiments)
        self._voice = Voice(settings.processes)
        self.refused: dict[Origin, Refusal] = {}
        self._again: dict[Origin, float] = {}  # when a refused text is tried again
        self._compared: tuple[bytes | None, Source] | None = None  # the live text, and ours, at the last look
        self._troubles: set[str] = set()  # that were told of, and are not over
        self._kept = ""  # text in the folder of the state
        self._task: asyncio.Task[None] | None = None
        self._closed = False

    def look(self) -> None:
        """The file is about to be read."""
        self._file.look()

    async def start(self, first: Choice, *, reachable: bool) -> None:
        """Say what was chosen; poll once now, and then in the background."""
        if first.refused is not None:
            self._refuse("file", first.refused, f"{first.said}")
        elif first.said:
            self._voice.warn(first.said)
        if not reachable:
            self._troubles.add("redis")  # the greeting tells it
        await self._poll()
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Poll no more."""
        self._closed = True  # a cancellation alone may be lost within the client of Redis
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._voice.close()

    async def _run(self) -> None:
        while not self._closed:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self._poll()
                self._over("poll")
            except Exception as error:  # no poll shall be the last one
                self._trouble("poll", f"experiments are not followed: {type(error).__name__}: {error}")

    async def _poll(self) -> None:
        try:
            await self._live.publish_kills()
            await self._poll_redis()
            self._over("redis", "Redis answers again")
        except Conflict:  # the next poll sees what came
            pass
        except UNREACHABLE as error:
            self._trouble("redis", f"Redis: {said(error)}")
        await self._poll_file()
        await self._keep()
        self._live.shelf.tidy(self._live.models)

    async def _poll_redis(self) -> None:
        versions, mine = self._live.versions, self._live.source
        if self._compared == (await versions.live(), mine) and not self._due("redis"):
            return
        head = await versions.head()
        if head.live is None and head.last is not None:
            await versions.restore(head.last)
        elif head.last is not None and head.recorded:
            await self._follow(head.last, head)
        elif head.live is None or head.text == mine.text:
            await versions.publish(mine, self._live.author, self._live.note, head)
        else:
            await self._take_by_hand(head)
        self._compared = head.live, self._live.source

    async def _follow(self, last: Version, head: Head) -> None:
        """What was published is in force, unless what we have is newer: then that is published."""
        mine = self._live.source
        if last.version < mine.config.version:
            await self._live.versions.publish(mine, self._live.author, self._live.note, head)
        elif last.text == mine.text:
            self._accept("redis")
        else:
            two = last.version == mine.config.version and self._live.author == by_file(self._settings.experiments)
            await self._try("redis", partial(self._take_published, last))
            if two:  # of one number, this file's and another: it has to say a higher one
                self._file.again()

    async def _take_published(self, last: Version) -> None:
        source = await asyncio.to_thread(parse_experiments, last.text or "", f"version {last.version}")
        self._live.adopt(await self._live.prepared(source), last.author, last.note)

    async def _take_by_hand(self, head: Head) -> None:
        """Somebody has set the key: it counts once it is in the history."""
        await self._try("redis", partial(self._record, head))
        mine = self._live.source
        if "redis" in self.refused and (head.last is None or head.last.version < mine.config.version):
            await self._live.versions.publish(mine, self._live.author, self._live.note, head)

    async def _record(self, head: Head) -> None:
        origin = f"Redis key {live_key(self._settings.redis_prefix)}"
        source = await asyncio.to_thread(parse_experiments, head.text or "", origin)
        await asyncio.to_thread(self._check, source, head)
        await self._live.publish(source, "redis", "", head)

    async def _poll_file(self) -> None:
        if self._due("file"):
            self._file.again()
        try:
            if (text := self._file.changed()) is not None:
                await self._try("file", partial(self._take_file, text))
        except ConfigError as error:
            self._refuse("file", error)

    async def _take_file(self, text: str) -> None:
        source = await asyncio.to_thread(parse_experiments, text, str(self._settings.experiments))
        author = by_file(self._settings.experiments)
        try:
            head = await self._live.versions.head()
            if not await asyncio.to_thread(self._check, source, head):
                await self._live.publish(source, author, "", head)
        except Conflict:
            self._file.again()
        except UNREACHABLE:
            if not await asyncio.to_thread(self._check, source, None):
                self._live.adopt(await self._live.prepared(source), author)

    def _check(self, source: Source, head: Head | None) -> bool:
        """Whether it is in force already; ConfigError where it must not replace what is."""
        base = self._live.source if head is None else self._live.base(head)
        if source.config.version < base.config.version:
            raise ConfigError(
                f"{source.where(('version',))}: version {base.config.version} is in force; raise `version` to "
                f"{base.config.version + 1}"
            )
        replaces(base, source)
        return source.text == base.text

    async def _try(self, origin: Origin, take: Callable[[], Awaitable[None]]) -> None:
        """Take a text, or refuse it."""
        try:
            await take()
        except (ConfigError, BundleError) as error:
            self._refuse(origin, error)
        else:
            self._accept(origin)

    def _refuse(self, origin: Origin, error: TwinscoreError, line: str = "") -> None:
        """Show it, and say it once a reason."""
        self._again[origin] = monotonic() + _AGAIN_SECONDS if isinstance(error, BundleError) else inf
        if origin in self.refused and self.refused[origin].reason == str(error):
            return
        self.refused[origin] = Refusal(origin=origin, reason=str(error), time=datetime.now(UTC))
        self._metrics.config_refused.labels(origin).set(1)
        in_force = f"version {self._live.source.config.version} stays in force"
        self._voice.warn(line or f"{error}; {in_force}")

    def _accept(self, origin: Origin) -> None:
        self._again.pop(origin, None)
        self._metrics.config_refused.labels(origin).set(0)
        self.refused.pop(origin, None)

    def _due(self, origin: Origin) -> bool:
        """Whether a refused text is worth another try."""
        return monotonic() >= self._again.get(origin, inf)

    async def _keep(self) -> None:
        """The last good text, for a start without Redis."""
        text = self._live.source.text
        if text == self._kept:
            return
        try:
            await asyncio.to_thread(keep, self._settings.state, text)
            self._kept = text
            self._over("state")
        except OSError as error:
            reason = error.strerror or str(error)
            self._trouble("state", f"{self._settings.state}: {reason}: a start without Redis would have the file alone")

    def _trouble(self, what: str, line: str) -> None:
        """Say it once until it is over."""
        if what not in self._troubles:
            self._voice.warn(f"{line}; version {self._live.source.config.version} stays in force")
        self._troubles.add(what)

    def _over(self, what: str, line: str = "") -> None:
        if what in self._troubles and line:
            self._voice.warn(f"{line}; version {self._live.source.config.version} is in force")
        self._troubles.discard(what)
