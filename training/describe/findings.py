"""What was found, as it is written to JSON; text and page show the same."""

from pydantic import Field as Attribute

from contract.schema import Strict
from training.datasets.prepared import SplitName


class Share(Strict):
    """Rows, the positive ones, their share, and its 95 % interval; None without rows."""

    rows: int
    positives: int
    rate: float | None
    low: float | None
    high: float | None


class LabelFound(Strict):
    """A task's label in one split, over rows of the task's space whose label is known."""

    answers: Share  # above `threshold`, for a continuous task
    unknown: int  # rows of the split without this label
    mean: float | None
    sd: float | None
    lift: float | None = None  # rate over training's, or mean over training's
    z: float | None = None  # of the difference from training, in standard errors


class DayFound(Strict):
    """A task's label on one day by UTC, in one split: rate or mean, and its 95 % interval; None without rows."""

    day: str
    split: SplitName
    rows: int  # impressions
    counted: int  # those that the task counts
    total: float  # sum of their labels
    value: float | None
    low: float | None
    high: float | None


class TaskFound(Strict):
    """A task."""

    name: str
    kind: str
    space: str
    threshold: float  # what "positive" is above
    splits: dict[SplitName, LabelFound]
    days: tuple[DayFound, ...] = ()  # by split, then day; empty where the data have no dates


class OracleFound(Strict):
    """How well the stored truth itself does on a split: what the best model can reach."""

    task: str
    split: SplitName
    rows: int
    auc: float | None = None  # of binary tasks
    log_loss: float | None = None
    rmse: float | None = None  # of continuous tasks
    calibration: float | None = None  # predicted over observed


class ValueFound(Strict):
    """A frequent value in training."""

    id: int
    text: str
    rows: int
    share: float  # of training's impressions
    tasks: dict[str, Share]


class Drift(Strict):
    """Population stability index against training; `noise` is what chance alone gives in so many rows."""

    psi: float
    noise: float
    word: str


class FieldSplit(Strict):
    """A field in one split. Shares are of impressions; of a multi-valued field's values where so said."""

    coverage: float | None  # with a value that has an id; None for numbers, whose missing values took the default
    distinct: int  # ids met
    length: float | None = None  # mean number of different values, of a multi-valued field
    missing: float | None = None  # without a value, or with the default of a number; None where `prepare` cannot know
    unseen: float | None = None  # of values: without an id; of training's own, those that are too rare for one
    new: float | None = None  # of values: without an id, or with an id that training never met
    listed: float | None = None  # with a list, of a weighted field
    weight: float | None = None  # mean of the weights in these lists
    mean: float | None = None
    sd: float | None = None
    least: float | None = None
    most: float | None = None
    drift: Drift | None = None


class Leak(Strict):
    """How well one field alone tells a label on rows that it was not fitted on."""

    task: str
    split: SplitName
    rows: int
    positives: int
    auc: float | None
    way: str  # how the field's values became scores
    sure: bool  # far from chance: four standard errors
    equals: bool  # one value has all positives, another all negatives, in all splits
    alarm: bool


class FieldFound(Strict):
    """All about a field."""

    name: str
    side: str
    kind: str
    encoding: str
    size: int  # ids, id 0 counted; 0 for a number
    new_is: str  # "exact", "at least" or "estimate": what `new` is
    splits: dict[SplitName, FieldSplit]
    top: tuple[ValueFound, ...] = ()
    absent: ValueFound | None = None  # id 0 in training
    quantiles: dict[str, float] = Attribute(default_factory=dict)
    histogram: tuple[tuple[float, float], ...] = ()  # of a number: share in training of equal steps, as (from, share)
    leaks: tuple[Leak, ...] = ()


class Duplicates(Strict):
    """Rows of interactions that are the same in every column, by hash."""

    repeated: dict[SplitName, int]  # equal to an earlier row of the split
    trained: dict[SplitName, int]  # in validation and test: training has the same row


class Remark(Strict):
    """Something to act on."""

    alarm: bool  # else a warning
    about: str  # field or task
    text: str


class Findings(Strict):
    """The report."""

    source: str
    path: str
    rows: dict[SplitName, int]
    users: int
    items: int
    rejected: int  # bad rows that `prepare` skipped
    notes: dict[str, int]  # what the source left out on purpose or found odd, and how many rows
    fingerprint: str
    tasks: tuple[TaskFound, ...]
    oracle: tuple[OracleFound, ...]
    fields: tuple[FieldFound, ...]
    duplicates: Duplicates
    remarks: tuple[Remark, ...]

    @property
    def alarms(self) -> list[Remark]:
        """Leaks."""
        return [remark for remark in self.remarks if remark.alarm]

    @property
    def warnings(self) -> list[Remark]:
        """All else to act on."""
        return [remark for remark in self.remarks if not remark.alarm]
