"""Bundles of small untrained models, exported once for all tests that read them: tracing takes seconds."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from contract.bundle import Bundle, read_bundle
from export.model import export_model
from tests.export.runs import run_folder


@cache
def exported(name: str) -> tuple[Path, Bundle]:
    """The run of a model, and its bundle; not to be altered."""
    folder = Path(tempfile.mkdtemp(prefix=f"exported-{name}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    run = run_folder(folder, name)
    return run, read_bundle(export_model(run, folder / "bundles"))
