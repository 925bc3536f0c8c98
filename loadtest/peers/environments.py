"""A virtual environment a peer, made once: `<root>/<peer>/.venv`, versions as `requirements/<peer>.txt` pins them.

Brought up to date where that file changed; after an interruption pip goes on with what is already there.
"""

import subprocess
import sys
from pathlib import Path
from typing import Protocol

from contract.errors import ConfigError
from contract.files import sha256, write_text

ENVIRONMENTS = Path(".run/peers-serving")


class Pinned(Protocol):
    """What an environment is made for."""

    @property
    def name(self) -> str:
        """Of the environment's folder."""

    @property
    def requirements(self) -> Path:
        """A file of pip's."""


def prepare(peer: Pinned, root: Path = ENVIRONMENTS) -> Path:
    """The environment's interpreter, made if need be; ConfigError with pip's last line where that fails."""
    folder, python = root.absolute() / peer.name / ".venv", python_of(peer, root)
    if is_ready(peer, root):
        return python
    print(f"{peer.name}: making its environment in {folder}", file=sys.stderr, flush=True)
    (folder / ".ready").unlink(missing_ok=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], peer.name)  # our own pip fills it
    pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
    _run([*pip, "install", "--progress-bar", "off", "-r", str(peer.requirements)], peer.name)
    write_text(folder / ".ready", sha256(peer.requirements))
    return python


def python_of(peer: Pinned, root: Path = ENVIRONMENTS) -> Path:
    """The interpreter, whether it is there or not."""
    return root.absolute() / peer.name / ".venv" / "bin" / "python"


def is_ready(peer: Pinned, root: Path = ENVIRONMENTS) -> bool:
    """Whether the environment is there, whole, and of the versions now pinned."""
    marker = root / peer.name / ".venv" / ".ready"
    return marker.is_file() and marker.read_text(encoding="utf-8") == sha256(peer.requirements)


def _run(command: list[str], name: str) -> None:
    """Run, showing what is downloaded."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        last = f"{command[2]} printed nothing"
        for line in filter(None, map(str.strip, process.stdout)):
            last = line
            if line.startswith(("Collecting", "Downloading", "Installing")):
                print(f"{name}: {line[:110]}", file=sys.stderr, flush=True)
    if process.returncode:
        raise ConfigError(f"environment of {name}: {last}")
