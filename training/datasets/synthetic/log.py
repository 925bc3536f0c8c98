"""The impressions of a synthetic log, a block at a time.

A block is a fixed number of whole requests, drawn by a generator of its own that its number keys: the rows are the
same whatever is read before, and by whom. Arrays are [slate, requests], so that what belongs to a request broadcasts.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from training.datasets.synthetic.counters import stream, zipf
from training.datasets.synthetic.popularity import ranked
from training.datasets.synthetic.population import CROSSES, Population, Things, pair_tables, sizes
from training.datasets.synthetic.spec import DAY, START, Floats, Ints, Numbers, Spec
from training.datasets.synthetic.truth import TASKS, Impressions, Truth, item_factors, tastes

BLOCK = 65_536  # rows, at most
PILOT = 262_144  # rows from which scales and biases are measured
HOUR = 3_600

Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True)
class Requests:
    """Who asks when, [requests]; times ascend."""

    user: Ints
    time: Ints
    scene: Ints  # code; of `aliccp`


@dataclass(frozen=True)
class Block:
    """Impressions in the order of rows, [rows]: request by request, each by position."""

    requests: Requests
    request: Ints  # the row's place in `requests`
    item: Ints
    position: Ints  # from 1
    crosses: dict[str, Ints]  # codes by field; 0 is missing
    click: NDArray[np.bool_]
    conversion: NDArray[np.bool_]  # however late
    conversion_time: Ints  # 0 where none
    truth: tuple[Floats, Floats]  # P(click), P(conversion | click)


class Log:
    """All blocks of a spec."""

    def __init__(self, spec: Spec) -> None:
        self.spec, self.world = spec, world_of(spec.population)
        self.block_rows = BLOCK // spec.slate * spec.slate

    def block(self, number: int) -> Block:
        """The rows from `number` x block_rows on."""
        spec, slate, first_row = self.spec, self.spec.slate, number * self.block_rows
        rng = np.random.default_rng([stream(spec.seed, "log"), number])
        rows = min(self.block_rows, spec.rows - first_row)
        requests = _requests(rng, spec, _times(rng, spec, first_row // slate, -(-rows // slate)))
        items = _slates(rng, spec, requests.time)
        seen = self.world.impressions(requests, items)
        crosses = {f"{name}_in_history" for name in CROSSES[spec.shape]}
        click, conversion = (_rows(values, rows) for values in self.world.truth.probabilities(seen))
        request = np.arange(rows) // slate
        clicked = rng.random(rows) < click
        converted = clicked & (rng.random(rows) < conversion)
        return Block(
            requests=requests,
            request=request,
            item=_rows(items, rows),
            position=np.arange(rows) % slate + 1,
            crosses={name: _rows(codes, rows) for name, codes in seen.codes.items() if name in crosses},
            click=clicked,
            conversion=converted,
            conversion_time=_conversion_times(rng, spec, converted, requests.time[request]),
            truth=(click, conversion),
        )


@dataclass(frozen=True)
class World:
    """Users, items and truth of a spec, for any number of rows."""

    spec: Spec

    @cached_property
    def population(self) -> Population:
        """Users and items."""
        return Population(self.spec)

    @cached_property
    def truth(self) -> Truth:
        """Probabilities, with scales and rates measured on a pilot sample spread over all days."""
        rng = np.random.default_rng(stream(self.spec.seed, "pilot"))
        times = np.sort(rng.integers(START, self.spec.end, PILOT // self.spec.slate))
        requests = _requests(rng, self.spec, times)
        pilot = self.impressions(requests, _slates(rng, self.spec, times))
        return Truth(self.spec, sizes(self.spec.shape), pair_tables(self.spec), pilot)

    def impressions(self, requests: Requests, items: Ints) -> Impressions:
        """What the truth depends on, of requests that show items [slate, requests]."""
        users, goods = self.population.users(requests.user), self.population.catalogue
        codes = users.codes | {name: values.take(items).astype(np.int64) for name, values in goods.codes.items()}
        codes |= {"scene": requests.scene, "hour": 1 + requests.time % DAY // HOUR}
        codes |= {f"{name}_in_history": _met(users, name, codes[name]) for name in CROSSES[self.spec.shape]}
        numbers = {name: np.log1p(values) for name, values in users.numbers.items()}
        numbers |= {name: values.take(items) for name, values in goods.numbers.items()}
        position, day = np.arange(1, len(items) + 1)[:, None], (requests.time - START) // DAY
        return Impressions(codes, numbers, self._affinity(requests.user, items), position, day)

    @cached_property
    def _factors(self) -> NDArray[np.float32]:
        return item_factors(self.spec.seed, np.arange(self.spec.items)).astype(np.float32)

    def _affinity(self, users: Ints, items: Ints) -> dict[str, Numbers]:
        taste = tastes(self.spec.seed, users, self.spec.effects.rho).astype(np.float32)  # [requests, 2, FACTORS]
        products = taste @ self._factors[items.T].transpose(0, 2, 1)  # [requests, 2, slate]
        return {name: products[:, place].T for place, name in enumerate(TASKS)}


@lru_cache(maxsize=2)
def world_of(spec: Spec) -> World:
    """The world of a population; it is asked for by the same process again and again."""
    return World(spec)


def _requests(rng: np.random.Generator, spec: Spec, times: Ints) -> Requests:
    drawn = rng.random(len(times))
    scene = 1 + (drawn > 0.6).astype(np.int64) + (drawn > 0.9)
    return Requests(zipf(rng.random(len(times)), spec.users), times, scene)


def _slates(rng: np.random.Generator, spec: Spec, times: Ints) -> Ints:
    """Distinct items for requests in the order of time, by the popularity of the day: [slate, requests]."""
    days = (times - START) // DAY
    present, starts = np.unique(days, return_index=True)
    parts = []
    for day, start, stop in zip(present, starts, [*starts[1:], len(times)], strict=True):
        order = ranked(spec, int(day))
        parts.append(order.take(_ranks(rng, len(order), stop - start, spec.slate)))
    return np.concatenate(parts, axis=1).astype(np.int64)


def _ranks(rng: np.random.Generator, items: int, requests: int, slate: int) -> Ints:
    """Ranks by Zipf's law, distinct in each request: [slate, requests]. A rank met before is drawn again."""
    ranks = zipf(rng.random((slate, requests)), items)
    doubtful = np.arange(requests)
    while len(doubtful):
        part = ranks[:, doubtful]
        again = np.zeros(part.shape, bool)
        for place in range(1, slate):
            np.any(part[:place] == part[place], axis=0, out=again[place])
        part[again] = zipf(rng.random(int(again.sum())), items)
        ranks[:, doubtful] = part
        doubtful = doubtful[again.any(axis=0)]
    return ranks


def _met(users: Things, name: str, codes: Ints) -> Ints:
    """The codes [slate, requests] that are in the user's history; 0 for the others."""
    met, narrow = np.zeros(codes.shape, bool), codes.astype(np.int16)
    for entry in users.lists[name]:
        met |= narrow == entry
    return np.where(met, codes, 0)


def _times(rng: np.random.Generator, spec: Spec, first: int, count: int) -> Ints:
    """Moments of the requests from `first` on: evenly over the days, with a jitter that keeps their order."""
    places = first + np.arange(count) + rng.random(count)
    return START + (places * (spec.days * DAY / spec.requests)).astype(np.int64)


def _conversion_times(rng: np.random.Generator, spec: Spec, converted: NDArray[np.bool_], times: Ints) -> Ints:
    """When conversions came: after an exponential delay."""
    moments = np.zeros(len(times), np.int64)
    delays = rng.standard_exponential(int(converted.sum())) * spec.delay * HOUR
    moments[converted] = times[converted] + delays.astype(np.int64)
    return moments


def _rows(values: NDArray[Number], rows: int) -> NDArray[Number]:
    """[slate, requests] → [rows]."""
    return values.T.ravel()[:rows]
