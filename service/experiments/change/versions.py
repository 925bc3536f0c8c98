"""Versions of the configuration in Redis: the text in force, and every one that ever was, with who, when and why.

The text in force lies under a key of its own, so that people can read and set it; it counts once the history has it.
Whoever writes says what it read before: Redis refuses where that has changed meanwhile, so that of several one wins.
"""

from datetime import UTC, datetime
from difflib import unified_diff
from typing import NamedTuple, cast

from pydantic import AwareDatetime, BaseModel, ValidationError
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.exceptions import RedisError

from contract.errors import TwinscoreError
from service.experiments.keys import live, versions
from service.experiments.source import Source, parse_experiments

UNREACHABLE = (RedisError, OSError, TimeoutError)  # what a Redis that is down, slow or refuses comes as
# the live text and the number of versions are as they were read: then the new text and its entry, at once
_PUBLISH = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] or redis.call('HLEN', KEYS[2]) ~= tonumber(ARGV[2]) then return 0 end
if redis.call('HSETNX', KEYS[2], ARGV[3], ARGV[5]) == 0 then return 0 end
redis.call('SET', KEYS[1], ARGV[4])
return 1
"""


def said(error: BaseException) -> str:
    """What is wrong with Redis, as a part of a line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


class Conflict(TwinscoreError):
    """Another version came first."""


class Version(BaseModel):
    """A configuration that was in force, or is; `diff` is against its predecessor, as lines of a unified diff."""

    version: int
    time: AwareDatetime
    author: str
    note: str = ""
    diff: list[str] = []
    text: str | None = None  # None where it was not asked for


class Head(NamedTuple):
    """What Redis holds now; `last` is the newest of the history."""

    live: bytes | None
    versions: int  # how many there are
    last: Version | None

    @property
    def text(self) -> str | None:
        """The live text."""
        return None if self.live is None else self.live.decode(errors="replace")

    @property
    def recorded(self) -> bool:
        """Whether the live text is the newest of the history; else somebody set the key by hand, or it is gone."""
        return self.last is not None and self.text == self.last.text


def entry(source: Source, author: str, note: str, before: Version | None) -> Version:
    """A version for the history."""
    diff = [] if before is None else difference_lines(before.text or "", source.text)
    return Version(
        version=source.config.version, time=datetime.now(UTC), author=author, note=note, text=source.text, diff=diff
    )


def difference_lines(old: str, new: str) -> list[str]:
    """Lines of a unified diff without its heading."""
    return list(unified_diff(old.splitlines(), new.splitlines(), n=2, lineterm=""))[2:]


class Versions:
    """The store, for an event loop; every call may raise one of UNREACHABLE."""

    def __init__(self, redis: AsyncRedis, prefix: str) -> None:
        self._redis, self._live, self._versions = redis, live(prefix), versions(prefix)

    async def live(self) -> bytes | None:
        """The live text alone, which is what a poll reads."""
        return cast(bytes | None, await self._redis.get(self._live))

    async def head(self) -> Head:
        """The live text, and the newest version."""
        text, numbers = await self.live(), cast(list[bytes], await self._redis.hkeys(self._versions))
        last = _newest(numbers)
        return Head(text, len(numbers), None if last is None else await self.version(last))

    async def publish(self, source: Source, author: str, note: str, head: Head) -> Version:
        """Put this text in force upon what `head` says was read; Conflict where that has changed."""
        version = entry(source, author, note, head.last)
        arguments = _arguments(head, version)
        if not await self._redis.eval(_PUBLISH, 2, self._live, self._versions, *arguments):
            raise Conflict(f"another version came before {version.version}; look at it, and send yours again")
        return version

    async def restore(self, last: Version) -> None:
        """Put the newest text back where the key is gone."""
        await self._redis.set(self._live, last.text or "", nx=True)

    async def history(self) -> list[Version]:
        """Every version, the newest first."""
        stored = cast(dict[bytes, bytes], await self._redis.hgetall(self._versions))
        known = [version for version in map(_version, stored.values()) if version is not None]
        return sorted(known, key=lambda version: version.version, reverse=True)

    async def version(self, number: int) -> Version | None:
        """One version."""
        return _version(cast(bytes | None, await self._redis.hget(self._versions, str(number))))


def read_live(redis: Redis, prefix: str) -> Source | None:
    """The configuration in force, for a process without an event loop; None where there is none yet.

    The newest of the history, since the live text may be one that no service takes; that text where no service was yet.
    """
    head = read_head(redis, prefix)
    if head.last is not None:
        return parse_experiments(head.last.text or "", f"version {head.last.version}")
    return None if head.text is None else parse_experiments(head.text, live(prefix))


def read_head(redis: Redis, prefix: str) -> Head:
    """`Versions.head`."""
    text = cast(bytes | None, redis.get(live(prefix)))
    numbers = cast(list[bytes], redis.hkeys(versions(prefix)))
    last = _newest(numbers)
    stored = None if last is None else cast(bytes | None, redis.hget(versions(prefix), str(last)))
    return Head(text, len(numbers), _version(stored))


def publish_sync(redis: Redis, prefix: str, text: str, author: str, note: str) -> Version:
    """`Versions.publish` upon what is in force now. ConfigError where the text is wrong, Conflict where it is late."""
    source, head = parse_experiments(text, author), read_head(redis, prefix)
    if head.last is not None and source.config.version <= head.last.version:
        raise Conflict(f"version {head.last.version} is in force; yours must be higher, and is {source.config.version}")
    version = entry(source, author, note, head.last)
    if not redis.eval(_PUBLISH, 2, live(prefix), versions(prefix), *_arguments(head, version)):
        raise Conflict(f"another version came before {version.version}")
    return version


def _arguments(head: Head, version: Version) -> tuple[bytes, str, str, str, str]:
    text = version.text or ""
    return head.live or b"", str(head.versions), str(version.version), text, version.model_dump_json()


def _newest(numbers: list[bytes]) -> int | None:
    return max((int(number) for number in numbers if number.isdigit()), default=None)


def _version(stored: bytes | None) -> Version | None:
    try:
        return None if stored is None else Version.model_validate_json(stored)
    except ValidationError:  # somebody else's hand
        return None
