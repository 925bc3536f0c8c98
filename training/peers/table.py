"""Outcomes as a table that a person reads: seeds together, failures in full."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from statistics import mean, median, stdev

from rich.markup import escape
from rich.table import Table

from training.peers.runs import Outcome


def outcomes_table(outcomes: Sequence[Outcome]) -> Table:
    """One line a library, model and batch size: mean ± standard deviation over seeds, median rows/s."""
    tasks = list(dict.fromkeys(task for outcome in outcomes for task in outcome.auc))
    table = Table(box=None, padding=(0, 2, 0, 0))
    for column in ("library", "version", "model"):
        table.add_column(column, overflow="fold")
    for column in ("batch", "seeds", *(f"AUC {task}" for task in tasks), "rows/s", "parameters"):
        table.add_column(column, justify="right", overflow="fold")
    table.add_column("", overflow="fold")
    for _, group in groupby(sorted(outcomes, key=_place), key=_place):
        table.add_row(*map(escape, _cells(list(group), tasks)))
    return table


def outcome_line(outcome: Outcome) -> str:
    """One run in one line, as it ends."""
    run = f"{outcome.library} {outcome.model}, batch {outcome.batch_size}, seed {outcome.seed}"
    if outcome.error:
        return f"{run}: FAILED: {outcome.error}"
    aucs = [f"{task} {_shown([auc])}" for task, auc in outcome.auc.items()]
    return f"{run}: {', '.join([*aucs, f'{outcome.rows_per_second or 0:,.0f} rows/s'])}"


def _place(outcome: Outcome) -> tuple[str, str, int]:
    return outcome.library, outcome.model, outcome.batch_size


def _cells(group: list[Outcome], tasks: list[str]) -> list[str]:
    done, failed = [o for o in group if not o.error], [o for o in group if o.error]
    first = (done or group)[0]
    version = first.versions.get(first.library.replace("_", "-"), "")
    rates = [o.rows_per_second for o in done if o.rows_per_second is not None]
    return [
        first.library,
        version,
        first.model,
        str(first.batch_size),
        str(len(done)),
        *(_shown([o.auc.get(task) for o in done]) for task in tasks),
        f"{median(rates):,.0f}" if rates else "–",
        f"{first.parameters:,}" if first.parameters else "–",
        "; ".join([first.note] * bool(first.note) + [f"seed {o.seed} FAILED: {o.error}" for o in failed]),
    ]


def _shown(aucs: Iterable[float | None]) -> str:
    known = [auc for auc in aucs if auc is not None]
    if not known:
        return "–"
    return f"{mean(known):.4f}" + (f" ± {stdev(known):.4f}" if len(known) > 1 else "")
