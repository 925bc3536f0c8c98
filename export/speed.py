"""How fast graphs of candidates are beside each other: one thread, one request, the graphs in turn."""

import time
from collections.abc import Mapping

import numpy as np

from contract.bundle import Arrays
from export.parity import SplitSession

ROUNDS, SECONDS = 9, 0.1  # of each graph


def rows_per_second(sessions: Mapping[str, SplitSession], fed: Arrays) -> dict[str, float]:
    """Candidates a second of CPU time, by name: the median over rounds in which each graph has its turn."""
    rows, took = len(fed["request_of_item"]), {name: list[float]() for name in sessions}
    for session in sessions.values():
        session.candidate_scores(fed)  # warm
    for _ in range(ROUNDS):
        for name, session in sessions.items():
            took[name].append(_seconds(session, fed))
    return {name: rows / float(np.median(seconds)) for name, seconds in took.items()}


def _seconds(session: SplitSession, fed: Arrays) -> float:
    """CPU time of a run."""
    start, runs = time.thread_time(), 0
    while (spent := time.thread_time() - start) < SECONDS or not runs:
        session.candidate_scores(fed)
        runs += 1
    return spent / runs
