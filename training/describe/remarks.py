"""What to act on: leaks are alarms, all else is a warning."""

from collections.abc import Iterable, Iterator

from training.datasets.prepared import SplitName
from training.describe.figures import count, digits, number, share
from training.describe.findings import Duplicates, FieldFound, Leak, Remark, TaskFound

HELD: tuple[SplitName, ...] = ("validation", "test")
NEW = 0.2  # share of values that training did not know
SHARED = 0.01  # share of rows that training has too
SHIFTED, SURE = 0.1, 4.0  # of a label: relative change, in standard errors
THIN = 0.01  # coverage


def remarks(
    tasks: Iterable[TaskFound], fields: Iterable[FieldFound], duplicates: Duplicates, rows: dict[SplitName, int]
) -> tuple[Remark, ...]:
    """Alarms first."""
    tasks, fields = list(tasks), list(fields)
    alarms = [_leaked(field, leak) for field in fields for leak in field.leaks if leak.alarm]
    warnings = [*(w for task in tasks for w in _of_task(task)), *(w for field in fields for w in _of_field(field))]
    return (*alarms, *warnings, *_of_rows(duplicates, rows))


def _leaked(field: FieldFound, leak: Leak) -> Remark:
    if leak.equals:
        text = f"{field.name} equals the label of {leak.task}: one value has all its positives, another all the rest"
    else:
        text = (
            f"{field.name} alone tells {leak.task}: AUC {digits(leak.auc)} on {count(leak.rows)} {leak.split} rows, "
            f"by {leak.way}; is it known only after the label?"
        )
    return Remark(alarm=True, about=field.name, text=text)


def _of_task(task: TaskFound) -> Iterator[Remark]:
    for split, found in task.splits.items():
        if found.answers.positives in (0, found.answers.rows):
            rows = count(found.answers.rows)
            yield _warning(task.name, f"{task.name} has no two answers in {split}, where {rows} rows count")
        elif found.lift is not None and found.z is not None and abs(found.lift - 1) > SHIFTED and abs(found.z) > SURE:
            what = "rate" if task.kind == "binary" else "mean"
            yield _warning(task.name, f"{task.name}: its {what} in {split} is {number(found.lift)} times training's")


def _of_field(field: FieldFound) -> Iterator[Remark]:
    train = field.splits["train"]
    if train.coverage is not None and train.coverage < THIN:
        yield _warning(field.name, f"{field.name}: only {share(train.coverage)} of training's impressions have a value")
    elif train.distinct == 1 and (train.coverage is None or train.coverage == 1):
        yield _warning(field.name, f"{field.name} has the same value in all of training: it tells nothing")
    drifts = [(split, field.splits[split].drift) for split in HELD]
    if far := [f"PSI {number(drift.psi)} in {split}" for split, drift in drifts if drift and drift.word == "drifted"]:
        yield _warning(field.name, f"{field.name} drifted from training: {', '.join(far)}")
    news = [(split, field.splits[split].new or 0.0) for split in HELD]
    if many := [f"{share(new)} in {split}" for split, new in news if new > NEW]:
        yield _warning(
            field.name, f"{field.name}: values that training never met, or too rarely for an id: {', '.join(many)}"
        )


def _of_rows(duplicates: Duplicates, rows: dict[SplitName, int]) -> Iterator[Remark]:
    shared = [(split, duplicates.trained[split] / max(1, rows[split])) for split in HELD]
    if many := [f"{share(part)} of {split}" for split, part in shared if part > SHARED]:
        yield _warning("rows", f"rows that training has too, the same in every column: {', '.join(many)}")


def _warning(about: str, text: str) -> Remark:
    return Remark(alarm=False, about=about, text=text)
