"""A field: what its values are, where they come from, and how they become ids and numbers of a row."""

from collections.abc import Iterator
from enum import StrEnum
from itertools import pairwise
from math import isfinite
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Attribute

from contract.moments import epoch_seconds, zone

Name = Annotated[str, Attribute(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=64)]


class Side(StrEnum):
    """Where a field's value comes from. `user` and `context` are one a request; `item` and `cross` one a candidate."""

    USER = "user"  # stored row of the user
    CONTEXT = "context"  # arrives with the request
    ITEM = "item"  # stored row of the item
    CROSS = "cross"  # arrives with the candidate: user x item, position, price now


class Kind(StrEnum):
    """What a value is."""

    CATEGORICAL = "categorical"
    MULTI = "multi"
    NUMERIC = "numeric"


class Encoding(StrEnum):
    """How a categorical value becomes an id."""

    DICTIONARY = "dictionary"
    HASH = "hash"
    QUANTILE = "quantile"  # of a number: 1 + how many edges are not above it
    HOUR = "hour"  # of a time: 1 + hour of the day
    WEEKDAY = "weekday"  # of a time: 1 + days since Monday


BUCKETED = (Encoding.HASH, Encoding.QUANTILE)
TIMED = (Encoding.HOUR, Encoding.WEEKDAY)
NOW = "now"  # a default: the moment of the request


class Strict(BaseModel):
    """Frozen, and unknown keys are errors: a typo must not pass for a default."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Field(Strict):
    """One feature. `size`, `lineage`, `edges`, `mean` and `scale` are measured by `prepare`, not written by hand."""

    name: Name
    side: Side
    kind: Kind = Kind.CATEGORICAL
    column: str | None = None  # in the raw file, where it differs from `name`
    weights: str | None = None  # raw column: a weight for each value of a multi field, whose vectors are then summed
    cross: tuple[Name, Name] | None = None  # the two fields whose pair of ids this one hashes; it has no column
    encoding: Encoding = Encoding.DICTIONARY
    min_count: int = Attribute(default=1, ge=1)
    buckets: int | None = Attribute(default=None, ge=1, le=2**31 - 2)
    timezone: str | None = None  # of `hour` and `weekday`, as Europe/Rome; None: UTC
    max_length: int | None = Attribute(default=None, ge=1, le=1024)
    separator: str = Attribute(default="|", min_length=1)
    transform: Literal["standard", "log1p", "none"] = "standard"  # log1p is standardised too; none leaves it as it is
    default: str | float | None = None  # raw value where none is given; None: id 0, or 0.0
    size: int = Attribute(default=0, ge=0)  # ids are in [0, size)
    lineage: str = ""  # which dictionary: two first builds from other data differ, extensions agree
    edges: tuple[float, ...] | None = None  # between quantile buckets, ascending; at most buckets - 1
    mean: float = 0.0
    scale: float = Attribute(default=1.0, gt=0)

    @property
    def slots(self) -> int:
        """How many id columns the field takes in a row."""
        return {Kind.NUMERIC: 0, Kind.CATEGORICAL: 1, Kind.MULTI: self.max_length or 0}[self.kind]

    @property
    def numbers(self) -> int:
        """How many dense columns the field takes in a row: its number, or the weights of its ids."""
        return 1 if self.kind is Kind.NUMERIC else self.slots if self.weights else 0

    @property
    def needs_dictionary(self) -> bool:
        """Whether its ids come from a dictionary, not from hashing or from being a number."""
        return self.kind is not Kind.NUMERIC and self.encoding is Encoding.DICTIONARY

    @property
    def source(self) -> str:
        """The raw column."""
        return self.column or self.name

    @property
    def columns(self) -> tuple[str, ...]:
        """All raw columns that it is made of; none for a cross."""
        if self.cross:
            return ()
        return (self.source, self.weights) if self.weights else (self.source,)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if problem := next(self._problems(), None):
            raise ValueError(f"field '{self.name}': {problem}")
        return self

    def _problems(self) -> Iterator[str]:
        """What contradicts itself."""
        ids, number = self.kind is not Kind.NUMERIC, isinstance(self.default, int | float)
        if (self.max_length is not None) != (self.kind is Kind.MULTI):
            yield "max_length is for kind 'multi', and needed there"
        if self.weights is not None and self.kind is not Kind.MULTI:
            yield "weights is for kind 'multi'"
        if self.weights == self.source:
            yield f"weights names the column '{self.weights}' of the values; name the column of their weights"
        if not ids and isinstance(self.default, str):
            yield "a numeric default must be a number"
        if (self.buckets is not None) != (self.encoding in BUCKETED) or (self.buckets and not ids):
            yield "buckets is for encoding 'hash' or 'quantile' of ids, and needed there"
        if self.encoding not in (Encoding.DICTIONARY, Encoding.HASH) and self.kind is not Kind.CATEGORICAL:
            yield f"encoding '{self.encoding}' makes an id of a value; leave kind out, or make it 'categorical'"
        if self.encoding is Encoding.QUANTILE and not (self.default is None or number):
            yield "the default of encoding 'quantile' must be a number"
        yield from self._problems_of_time()
        yield from self._problems_of_measures()
        if self.cross:
            yield from self._problems_of_cross(self.cross)

    def _problems_of_time(self) -> Iterator[str]:
        timed = self.encoding in TIMED
        if self.timezone is not None and not timed:
            yield "timezone is for encodings 'hour' and 'weekday'"
        if self.timezone is not None and zone(self.timezone) is None:
            yield f"timezone '{self.timezone}' is not known; use a name of the IANA database, as Europe/Rome"
        if timed and self.default == NOW and self.side is not Side.CONTEXT:
            yield f"default '{NOW}' is the moment of a request: for side 'context'"
        if timed and self.default not in (None, NOW) and epoch_seconds(self.default) is None:
            yield f"default '{self.default}' is not a time; use {NOW}, ISO 8601 (2026-01-31T12:00Z) or an epoch number"

    def _problems_of_measures(self) -> Iterator[str]:
        if self.edges is None:
            return
        if self.encoding is not Encoding.QUANTILE:
            yield "edges is for encoding 'quantile'"
        if any(not low < high for low, high in pairwise(self.edges)) or not all(map(isfinite, self.edges)):
            yield "edges must be finite numbers in ascending order"
        if self.buckets and len(self.edges) >= self.buckets:
            yield f"{len(self.edges)} edges make {len(self.edges) + 1} buckets; there are {self.buckets}"

    def _problems_of_cross(self, pair: tuple[str, str]) -> Iterator[str]:
        if self.kind is not Kind.CATEGORICAL or self.encoding is not Encoding.HASH:
            yield "a cross is a categorical field of encoding 'hash' with buckets"
        if self.column is not None or self.default is not None:
            yield "a cross is computed from two fields; it has neither column nor default"
        if self.side not in (Side.CONTEXT, Side.CROSS):
            yield "side of a cross: 'context' where both its fields are of user or context, else 'cross'"
        if pair[0] == pair[1]:
            yield f"crosses '{pair[0]}' with itself; name two fields"

    def meaning(self) -> list[object]:
        """All that changes what an encoded value of this field means."""
        default = str(self.default) if self.default is not None else None
        base: list[object] = [self.name, self.side, self.kind, self.encoding, self.buckets, self.max_length]
        base += [default, self.lineage]
        options = {"weights": bool(self.weights), "cross": self.cross, "timezone": self.timezone, "edges": self.edges}
        chosen = {name: value for name, value in options.items() if value}
        return [*base, chosen] if chosen else base  # rows written before these options were known keep their meaning
