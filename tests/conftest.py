"""What every test takes for granted, set before any of them imports torch."""

import os
import signal
import sys
from collections.abc import Iterator

import pytest

# waiting OpenMP threads sleep, so that shared cores do not ruin training
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# one process a service, unless a test is about several
os.environ.setdefault("TWINSCORE_WORKERS", "1")
# no log of exposures, unless a test is about it
os.environ.setdefault("TWINSCORE_LOG", "off")
# tables that suit a test: hundreds of apps live in one process
os.environ.setdefault("TWINSCORE_ITEM_CACHE_ROWS", "5000")
# a shell's background job ignores Ctrl-C, and would hand that on to us and to what we start
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def denormal_numbers() -> Iterator[None]:
    """Training on a CPU flushes them for the whole process: no other test should meet that."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)
