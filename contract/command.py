"""How every `python -m …` ends: 0, one clear line and 2, or 130 after Ctrl-C."""

import os
import signal
import sys
from collections.abc import Callable

from contract.errors import TwinscoreError


def run(command: Callable[[], int | None]) -> int:
    """Run a command, print a TwinscoreError as one line on stderr, and return the exit status."""
    try:
        return command() or 0
    except TwinscoreError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
