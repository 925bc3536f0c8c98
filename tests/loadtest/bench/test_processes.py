"""CPU and memory of process trees."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from loadtest.bench.processes import usage

_BURN = """
import os, subprocess, sys, threading, time

def burn(seconds):
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass

def engine():
    with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as name:
        name.write("engine-x")
    burn(0.3)
    done.wait()

done = threading.Event()
thread = threading.Thread(target=engine)
thread.start()
burn(0.2)
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.4: pass"])
child = subprocess.Popen([sys.executable, "-c", "kept = b'x' * (64 << 20); print('ready', flush=True); input()"],
                         stdin=subprocess.PIPE)
sys.stdin.readline()
child.communicate(b"\\n")
done.set()
"""


@contextmanager
def _burning() -> Iterator[int]:
    """A process that burnt CPU in two threads and in a child that ended, and keeps a child that holds memory."""
    process = subprocess.Popen([sys.executable, "-c", _BURN], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        yield process.pid
    finally:
        process.communicate(b"\n", timeout=20)


def test_usage_covers_threads_and_children_living_and_dead() -> None:
    with _burning() as pid:
        found = usage([pid])
    assert 0.9 <= found.cpu < 2
    assert 0.28 <= found.engine < 0.5
    assert found.rss > 64


def test_a_process_and_its_parent_count_once() -> None:
    with _burning() as pid:
        whole, both = usage([os.getpid()]), usage([os.getpid(), pid])
    assert both.cpu - whole.cpu < 0.2


def test_a_process_that_ended_uses_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
        assert usage([process.pid]).cpu == usage([]).rss == 0
