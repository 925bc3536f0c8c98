"""What a load test asks of a service besides scores."""

import http.client
import json
from urllib.parse import urlsplit

from contract.errors import ConfigError

_SECONDS = 5.0


def get(host: str, path: str) -> tuple[int, bytes]:
    """Status and body; ConfigError where no service answers."""
    connection = _connection(host)
    try:
        connection.request("GET", path)
        reply = connection.getresponse()
        return reply.status, reply.read()
    except (OSError, http.client.HTTPException) as error:
        raise ConfigError(f"{host}: no service answers ({error}); start one with `make serve`") from None
    finally:
        connection.close()


def check_ready(host: str) -> None:
    """ConfigError where no service answers, or one that does not take traffic."""
    status, _ = get(host, "/readyz")
    if status != 200:
        raise ConfigError(f"{host}: /readyz answers {status}, the service does not take traffic yet")


def served_models(host: str) -> dict[str, str]:
    """Version of each loaded model, {} where /models does not tell."""
    status, body = get(host, "/models")
    try:
        return {model["name"]: model["version"] for model in json.loads(body)} if status == 200 else {}
    except (ValueError, KeyError, TypeError):
        return {}


def _connection(host: str) -> http.client.HTTPConnection:
    address = urlsplit(host)
    kinds: dict[str, type[http.client.HTTPConnection]]
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    try:
        return kinds[address.scheme](address.hostname or "", address.port, timeout=_SECONDS)
    except (KeyError, ValueError, http.client.InvalidURL):
        raise ConfigError(f"--host {host}: write an address such as http://127.0.0.1:8000") from None
