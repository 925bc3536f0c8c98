"""One consumer counts; the others stand by. Correctness does not rest on it: every write checks the cursor."""

import os
import socket
from secrets import token_hex
from typing import cast

from redis import Redis

from service.experiments import keys

SECONDS = 10
_HOLD = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return holder end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return false
"""
_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end"


class Lease:
    """A claim that ends by itself."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis, self._key = redis, keys.lease(prefix)
        self._token = f"{socket.gethostname()}:{os.getpid()}:{token_hex(4)}"

    def other(self) -> str | None:
        """Take or renew it; who has it, where it is another."""
        holder = cast(bytes | None, self._redis.eval(_HOLD, 1, self._key, self._token, str(SECONDS * 1000)))
        return None if holder is None else holder.decode().rpartition(":")[0]

    def renew(self) -> None:
        """Keep it for another while."""
        self.other()

    def release(self) -> None:
        """Let the next one start at once."""
        self._redis.eval(_RELEASE, 1, self._key, self._token)
