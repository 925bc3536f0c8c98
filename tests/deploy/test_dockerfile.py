"""What must hold of the images, read from the Dockerfile's stages."""

import fnmatch
import json
import re
import subprocess
import sys
import tomllib
from functools import cache
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = ("service", "outcomes", "loader")


@cache
def _stages() -> dict[str, tuple[str, list[str]]]:
    """Stages in order: name → (what it is built from, its instructions)."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    stages: dict[str, tuple[str, list[str]]] = {}
    for line in re.sub(r"\\\n", "", text).splitlines():
        if start := re.match(r"FROM (\S+) AS (\S+)", line):
            stages[start[2]] = (start[1], [])
        elif line.strip() and stages:
            stages[list(stages)[-1]][1].append(line)
    return stages


def _instructions(stage: str) -> list[str]:
    """Instructions of a stage and of the stages below it, outermost last."""
    below, own = _stages()[stage]
    return (_instructions(below) if below in _stages() else []) + own


def _everything(stage: str) -> list[str]:
    """Also those of the stages it copies from."""
    own = _instructions(stage)
    sources = re.findall(r"--from=(\S+)", " ".join(own))
    return [line for source in sources for line in _instructions(source)] + own


def test_service_is_what_is_built_by_default() -> None:
    assert list(_stages())[-1] == "service"


@pytest.mark.parametrize("image", IMAGES)
def test_images_run_as_a_numeric_user_that_is_not_root(image: str) -> None:
    users = [line.split()[1] for line in _instructions(image) if line.startswith("USER")]
    uid = users[-1].partition(":")[0]
    assert uid.isdecimal()
    assert int(uid) > 0


@pytest.mark.parametrize(
    ("image", "variable", "folder"),
    [("service", "TWINSCORE_STATE", "/state"), ("outcomes", "TWINSCORE_ARCHIVE", "/archive")],
)
def test_the_user_owns_the_volume_that_is_written_to(image: str, variable: str, folder: str) -> None:
    own = _instructions(image)
    user = next(line.split()[1] for line in own if line.startswith("USER"))
    uid, gid = user.split(":")
    assert f"VOLUME {folder}" in own
    assert any(line.startswith("ENV") and f"{variable}={folder}" in line.split() for line in own)
    assert any(line.endswith(f"install -d -o {uid} -g {gid} {folder}") for line in own)


@pytest.mark.parametrize("image", IMAGES)
def test_no_image_installs_torch(image: str) -> None:
    extras: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    heavy = {name for name, packages in extras.items() if any(re.match(r"torch\b", package) for package in packages)}
    assert heavy
    installs = [line for line in _everything(image) if "pip " in line]
    assert installs
    assert not any(re.search(rf"[\[,]{name}[,\]]", line) for name in heavy for line in installs)
    assert not any(re.search(r"\storch\b", line) for line in installs)


@pytest.mark.parametrize("image", IMAGES)
def test_installs_are_pinned(image: str) -> None:
    installs = [line for line in _everything(image) if "pip " in line and " install " in line]
    assert installs
    assert all("-c constraints.txt" in line for line in installs)


def test_runtime_argument_names_an_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"service", "cpu", "gpu"} <= set(extras)
    assert any(".[service,${RUNTIME}]" in line for line in _everything("service"))


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False), (None, False)])
def test_health_check_passes_exactly_where_readyz_does(status: int | None, healthy: bool) -> None:
    (check,) = [line for line in _instructions("service") if line.startswith("HEALTHCHECK")]
    program, *arguments = json.loads(check[check.index("[") :])
    assert program == "python"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if status and self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        port = server.server_address[1]
        thread = Thread(target=server.handle_request)
        if status is None:
            server.server_close()  # nothing listens
        else:
            thread.start()
        environment = {"PORT": str(port)}
        done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=False)
        if status is not None:
            thread.join()
    assert (done.returncode == 0) is healthy


@pytest.mark.parametrize("image", IMAGES)
def test_what_is_copied_is_not_ignored(image: str) -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert rules[0] == "*"
    allowed = [rule[1:] for rule in rules if rule.startswith("!")]
    copies = [line.split()[1:-1] for line in _everything(image) if line.startswith("COPY") and "--from" not in line]
    for source in {source for sources in copies for source in sources}:
        assert any(
            fnmatch.fnmatch(source, rule) or source.startswith(f"{rule}/") or rule.startswith(f"{source}/")
            for rule in allowed
        ), source
