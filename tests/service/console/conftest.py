"""A real service on a real port, a stored readout, and one browser for all."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from redis import Redis

from service.app import create_app
from service.experiments import keys
from service.lifecycle import Service
from service.settings import Settings
from tests.service.conftest import ITEMS, USERS, Bundles, load_rows, make_live
from tests.service.console.sample import readout

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--no-first-run",
]  # fmt: skip
TOKEN = "a-token-of-tests"
EVIL = "<script>alert(1)</script>"
CONFIGURATION = """\
version: 7
default_model: ple
layers:
  - name: ranking
    salt: ranking
    experiments:
      - key: dtn-vs-ple
        salt: dtn-vs-ple.1
        slots: [[0, 6000]]
        arms:
          - {name: ple, model: ple, weight: 5000}
          - {name: dtn, model: dtn, weight: 5000}
        overrides: {u-qa-1: dtn}
      - key: older-model
        slots: [[6000, 8000]]
        killed: true
        arms:
          - {name: control, weight: 9000}
          - {name: other, model: dtn, weight: 1000}
"""


@contextmanager
def serving(settings: Settings) -> Iterator[tuple[str, Service]]:
    """The app by uvicorn in a thread; its address."""
    app = create_app(settings)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        service: Service = app.state.service
        deadline = time.monotonic() + 20
        while not (server.started and service.loaded.is_set()):
            assert time.monotonic() < deadline
            assert service.failure is None, service.failure
            time.sleep(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", service
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture(scope="module")
def stored(redis_address: str) -> Iterator[Redis]:
    """Redis with feature tables and a readout."""
    client = Redis.from_url(redis_address)
    client.flushall()
    load_rows(client, "g1", USERS, ITEMS)
    make_live(client, "g1")
    client.set(keys.readout("twinscore", "dtn-vs-ple"), readout().model_dump_json())
    yield client
    client.flushall()  # its configuration is none of other tests' business
    client.close()


@pytest.fixture(scope="module")
def settings(bundles: Bundles, redis_address: str, stored: Redis, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of the service that people look at."""
    folder = tmp_path_factory.mktemp("console")
    file = folder / "experiments.yaml"
    file.write_text(CONFIGURATION)
    return Settings(
        bundles=bundles.root, experiments=file, redis_url=redis_address, redis_timeout_ms=5000, allow_arm_override=True,
        admin_token=TOKEN, state=folder / "state", log=f"file:{folder / 'log'}",
    )  # fmt: skip


@pytest.fixture(scope="module")
def address(settings: Settings) -> Iterator[str]:
    """Where it listens."""
    with serving(settings) as (where, _service):
        yield where


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """The machine's chromium. Of one module, since no other event loop can run in this thread meanwhile."""
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}")
    with playwright.sync_playwright() as tool:
        browser = tool.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@dataclass
class Look:
    """A page, and what went wrong on it."""

    page: Any
    address: str
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


@contextmanager
def looking(browser: Any, address: str, width: int = 1280, scheme: str = "light", **more: Any) -> Iterator[Look]:
    """A page of its own; at the end nothing may have been complained of, and no other host asked."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
    page = context.new_page()
    look = Look(page, address)
    page.set_default_timeout(5000)
    page.on("console", lambda message: look.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: look.complaints.append(str(error)))
    page.on("request", lambda request: look.hosts.add(request.url.split("/")[2]))
    try:
        yield look
        assert look.complaints == []
        assert look.hosts <= {address.removeprefix("http://")}
    finally:
        context.close()
