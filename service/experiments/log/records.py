"""What goes to the log: exposures, events, and how many exposures were dropped. One JSON object a record.

Each carries `producer`, the process that wrote it, and `number`, which grows by one with each record of a producer: a
record that was written twice because an answer got lost is counted once. Times are milliseconds since 1970, UTC.
"""

from typing import Literal, NotRequired, TypedDict

MICROS = 1_000_000  # values and probabilities are whole millionths, so that sums are exact


class Envelope(TypedDict):
    """On every record, given by the log."""

    producer: str
    number: int


class Exposure(TypedDict):
    """One experiment of one scored request."""

    kind: Literal["exposure"]
    time: int
    request: str
    user: str
    key: str
    phase: int
    arm: str  # intended
    served: str  # the arm whose model scored: the intended one, or the control where it failed
    model: str  # name@version that scored
    slot: int | None
    reason: str  # only "assigned" counts in a readout
    config: int  # version of the configuration
    items: int
    predicted: NotRequired[int]  # mean predicted ctr of the candidates, in millionths
    segments: NotRequired[dict[str, str]]


class Event(TypedDict):
    """What a user did."""

    kind: Literal["click", "conversion", "value"]
    time: int
    id: str  # of the event; sent twice, it counts once
    user: str
    value: NotRequired[int]  # in millionths
    request: NotRequired[str]
    item: NotRequired[str]


class Dropped(TypedDict):
    """Exposures that found the queue full, by `key/phase/arm`."""

    kind: Literal["dropped"]
    time: int
    counts: dict[str, int]


Record = Exposure | Event | Dropped
