"""A virtual environment a library, made on first use: `.run/peers/<library>/`, versions as `<library>.txt` pins them.

Remade where that file changed. On a machine without wheels of torch at hand pip downloads it, once a library.
"""

import shutil
import subprocess
import sys
from pathlib import Path

from contract.errors import ConfigError
from contract.files import sha256

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ENVIRONMENTS = ROOT / ".run" / "peers"
LIBRARIES = tuple(sorted(path.stem for path in HERE.glob("*.txt")))


def python_of(library: str) -> Path:
    """The environment's interpreter, whether it is there or not."""
    return ENVIRONMENTS / library / "bin" / "python"


def is_ready(library: str) -> bool:
    """Whether the environment is there, whole, and of the versions now pinned."""
    marker = _marker(library)
    return marker.is_file() and marker.read_text(encoding="utf-8") == sha256(HERE / f"{library}.txt")


def prepare(library: str) -> None:
    """Make the environment unless it is ready; ConfigError with pip's last line where that fails."""
    if is_ready(library):
        return
    folder = ENVIRONMENTS / library
    shutil.rmtree(folder, ignore_errors=True)
    _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], library)  # our own pip fills it
    pip = [sys.executable, "-m", "pip", "--python", str(python_of(library)), "--disable-pip-version-check"]
    _run([*pip, "install", "-q", "-r", str(HERE / f"{library}.txt")], library)
    _marker(library).write_text(sha256(HERE / f"{library}.txt"), encoding="utf-8")


def last_line(text: str, otherwise: str) -> str:
    """The last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else otherwise


def _marker(library: str) -> Path:
    return ENVIRONMENTS / library / ".ready"


def _run(command: list[str], library: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise ConfigError(f"environment of {library}: {last_line(done.stderr, f'pip ended with {done.returncode}')}")
