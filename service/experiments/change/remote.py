"""A running service, by HTTP: its versions of the configuration, read and changed."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from contract.errors import ConfigError

NOTHING: Mapping[str, str] = {}
_SECONDS = 30  # a new model may have to load first


@dataclass(frozen=True, slots=True)
class Remote:
    """A service at `url`, such as http://127.0.0.1:8000."""

    url: str
    token: str | None = None
    author: str = ""

    def apply(self, text: str, note: str, check: bool) -> Any:
        """Put a configuration in force, or only have it checked there; the Version that it is."""
        query = {"note": note} | ({"check": "true"} if check else {})
        return self._ask("PUT", "/experiments", "application/yaml", text.encode(), query)

    def rollback(self, version: int, note: str) -> Any:
        """Put an old version in force again; the Version that it becomes."""
        body = json.dumps({"version": version, "note": note}).encode()
        return self._ask("POST", "/experiments/rollback", "application/json", body)

    def history(self) -> Any:
        """What is in force there, and every version, the newest first."""
        return self._ask("GET", "/experiments/versions")

    def _ask(
        self, method: str, path: str, kind: str = "", body: bytes | None = None, query: Mapping[str, str] = NOTHING
    ) -> Any:
        address = self.url.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        if urlsplit(address).scheme not in ("http", "https"):
            raise ConfigError(f"{self.url}: not the address of a service; such as http://127.0.0.1:8000")
        try:
            request = Request(address, body, self._headers(kind), method=method)
            with urlopen(request, timeout=_SECONDS) as reply:
                return json.load(reply)
        except HTTPError as error:
            raise ConfigError(f"{self.url}: {error.code}: {_detail(error)}") from None
        except (HTTPException, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise ConfigError(f"{self.url}: no answer that can be used ({reason}); is the service there?") from None

    def _headers(self, kind: str) -> dict[str, str]:
        sent = {"Content-Type": kind, "X-Author": self.author.encode().decode("latin-1")}  # UTF-8 on the wire
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        return {name: value for name, value in sent.items() if value}


def _detail(error: HTTPError) -> str:
    """What a problem document says, else the reason of the status line."""
    try:
        return str(json.load(error)["detail"])
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return str(error.reason)
