"""Redis Cluster: its URLs, which slot a key lies in, and which node a slot."""

import re
from binascii import crc_hqx
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

SLOTS = 16_384
_URL = re.compile(r"(rediss?)\+cluster://((?:[^@/]*@)?)([^@/?]+)/?(\?.*)?")
Address = tuple[str, int]


@dataclass(frozen=True)
class ClusterUrl:
    """`redis+cluster://user:password@host:port,host:port`: some nodes, from which the others are known."""

    scheme: str
    login: str
    hosts: tuple[str, ...]
    options: str

    @classmethod
    def parse(cls, url: str) -> "ClusterUrl | None":
        """None where the URL is of a single server; ValueError where it cannot be read."""
        if "+cluster:" not in url:
            return None
        match = _URL.fullmatch(url)
        if match is None:
            raise ValueError(
                "write redis+cluster://host:port,host:port (rediss+cluster:// for TLS), without a database"
            )
        scheme, login, hosts, options = match.groups(default="")
        return cls(scheme, login, tuple(hosts.split(",")), options)

    @property
    def seeds(self) -> list[str]:
        """URLs of the nodes that were named."""
        return [f"{self.scheme}://{self.login}{host}{self.options}" for host in self.hosts]

    def node(self, address: Address) -> str:
        """The URL of any node."""
        host, port = address
        host = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{self.login}{host}:{port}{self.options}"


def without_password(url: str) -> str:
    """A URL as it may be shown."""
    return re.sub(r"//.*@", "//…@", url)


def slot(key: bytes) -> int:
    """The slot of a key: of what is between its first braces, where there is something."""
    start = key.find(b"{")
    end = key.find(b"}", start + 1) if start >= 0 else -1
    return crc_hqx(key[start + 1 : end] if end > start + 1 else key, 0) % SLOTS


def slots(base: bytes, keys: Sequence[bytes]) -> list[int]:
    """The slots of keys that all start with `base`, which is hashed once."""
    if b"{" in base or b"{" in b"".join(keys):
        return [slot(base + key) for key in keys]
    start = crc_hqx(base, 0)
    return [crc_hqx(key, start) % SLOTS for key in keys]


def owners(reply: Sequence[Any], asked: str) -> list[Address | None]:
    """The primary of each slot, from the reply to CLUSTER SLOTS of the node at the host `asked`; None: nobody's."""
    table: list[Address | None] = [None] * SLOTS
    for first, last, primary, *_ in reply:
        host = (primary[0] or b"").decode() or asked
        table[first : last + 1] = [(host, int(primary[1]))] * (last + 1 - first)
    return table


@dataclass(frozen=True)
class Redirection:
    """What a node says of a slot that is not, or not yet, its own."""

    asking: bool  # this once only: the slot is on its way
    address: Address

    @classmethod
    def parse(cls, error: str, asked: str) -> "Redirection | None":
        """Of the text of an error; None where it is another one."""
        match = re.fullmatch(r"(MOVED|ASK) \d+ (.*):(\d+)", error)
        return match and cls(match[1] == "ASK", (match[2].strip("[]") or asked, int(match[3])))


def passing(error: str) -> bool:
    """Whether it may be over soon: slots change hands, or a node takes over."""
    return error.startswith(("TRYAGAIN", "CLUSTERDOWN", "LOADING"))
