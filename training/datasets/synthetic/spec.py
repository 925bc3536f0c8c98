"""What a synthetic log is to be: its size, its shape, its seed, and how strong each effect is."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

SLATE = 10  # items of a request
START, DAY = 1_767_225_600, 86_400  # 2026-01-01, in seconds

Shape = Literal["aliccp", "flat"]
Half = Literal["large", "small"]
Late = Literal["kept", "lost"]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Codes = NDArray[np.signedinteger[Any]]  # of any width
Numbers = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Effects:
    """How strong each term of the logit is, as a standard deviation, and what the tasks share of it."""

    main: float = 0.5
    factors: float = 0.5
    pairs: float = 0.9
    rho: float = 0.5  # how far a user's taste in buying follows the taste in clicking
    specific: float | None = (
        None  # share of the variance of `pairs` that is of the task alone; None: tables weigh alike
    )


@dataclass(frozen=True)
class Spec:
    """Everything that decides the rows; the same spec gives the same rows, on any machine."""

    rows: int = 200_000
    users: int = 20_000
    items: int = 5_000
    seed: int = 1
    shape: Shape = "aliccp"
    half: Half = "large"  # of `flat`: the fields whose pairs interact
    click_rate: float = 0.039
    conversion_rate: float = 0.08  # given a click
    days: int = 8
    drift: float = 0.25  # standard deviation that popularity and logits have moved by at the end of the log
    cold: float = 0.1  # share of the items that appear only on a later day
    delay: float = 24.0  # mean hours from impression to conversion
    late: Late = "kept"  # label of a conversion that comes after the log's end: 1 (kept) or 0 (lost)
    effects: Effects = Effects()

    @property
    def slate(self) -> int:
        """Items of a request."""
        return min(SLATE, self.items)

    @property
    def requests(self) -> int:
        """How many requests the rows belong to; the last may be cut short."""
        return -(-self.rows // self.slate)

    @property
    def end(self) -> int:
        """The first second after the log."""
        return START + self.days * DAY

    @property
    def population(self) -> "Spec":
        """All but the number of rows: what users, items and the truth depend on."""
        return replace(self, rows=0)

    def describe(self) -> str:
        """One line: the size, and what differs from the shape's defaults."""
        told = "" if self.shape == "aliccp" else f", {self.shape} by {self.half} fields"
        usual, own = asdict(BASES[self.shape]), asdict(self)
        free = ("click_rate", "conversion_rate", "days", "drift", "cold", "delay", "late")
        told += "".join(f", {name} {_shown(own[name])}" for name in free if own[name] != usual[name])
        plain = {effect.name: effect.default for effect in fields(Effects)}
        told += "".join(f", {name} {value:g}" for name, value in own["effects"].items() if value != plain[name])
        return f"synthetic: {self.rows} rows, {self.users} users, {self.items} items, seed {self.seed}{told}"


# flat stands still, so that what its pairs of ids add can be studied alone
BASES: dict[Shape, Spec] = {
    "aliccp": Spec(),
    "flat": Spec(shape="flat", click_rate=0.1, conversion_rate=0.2, drift=0.0, cold=0.0, effects=Effects(factors=0.2)),
}


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"
