"""Users and items of both shapes, each a function of its number.

Codes count from 1; 0 is a missing value. `aliccp` has the fields of Ali-CCP: profiles, histories, catalogue, numbers.
`flat` has ids alone: four profile and four catalogue fields, half of them with more ids and half with fewer.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from training.datasets.synthetic.counters import Shorts, below, normals, shorts, stream, uniforms, words, zipf
from training.datasets.synthetic.popularity import ranked
from training.datasets.synthetic.spec import Codes, Floats, Half, Ints, Numbers, Shape, Spec

PROFILE = {"segment": 97, "gender": 2, "age": 7, "consumption": 3, "shopping_depth": 3, "occupation": 2, "city": 4}
CATALOGUE = {"category": 200, "shop": 1_000, "brand": 500}
HISTORIES = ("category", "shop")
LONGEST, INTENTIONS, WANTED = 20, 300, 5  # entries of a history; kinds of intention, and how many an item has at most
MOMENT = {"scene": 3, "hour": 24}

HALVES: dict[Half, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "large": (("segment", "occupation"), ("category", "brand")),
    "small": (("city", "age"), ("shop", "style")),
}
IDS = {"large": 40, "small": 30}
FLAT_PROFILE = {name: IDS[half] for half, (names, _) in HALVES.items() for name in names}
FLAT_CATALOGUE = {name: IDS[half] for half, (_, names) in HALVES.items() for name in names}

PROFILES: dict[Shape, dict[str, int]] = {"aliccp": PROFILE, "flat": FLAT_PROFILE}
CATALOGUES: dict[Shape, dict[str, int]] = {"aliccp": CATALOGUE, "flat": FLAT_CATALOGUE}
MOMENTS: dict[Shape, dict[str, int]] = {"aliccp": MOMENT, "flat": {"hour": 24}}
CROSSES: dict[Shape, tuple[str, ...]] = {"aliccp": HISTORIES, "flat": ()}

PairTables = Mapping[str, tuple[tuple[str, str], ...]]  # by "both", "click" and "conversion": pairs of fields
PAIRS: PairTables = {
    "both": (("age", "category"), ("segment", "category"), ("gender", "shop"), ("scene", "category")),
    "click": (("city", "shop"), ("segment", "brand"), ("hour", "category")),
    "conversion": (("consumption", "brand"), ("shopping_depth", "shop"), ("segment", "shop")),
}


@dataclass(frozen=True)
class Things:
    """Users or items: codes and numbers [n] by field, lists of codes [longest, n] with 0 after the last."""

    codes: dict[str, Codes]
    numbers: dict[str, Numbers] = field(default_factory=dict)
    lists: dict[str, NDArray[np.int16]] = field(default_factory=dict)


@dataclass(frozen=True)
class Population:
    """All users and items of a spec."""

    spec: Spec

    @cached_property
    def catalogue(self) -> Things:
        """All items, for look-ups by number: 4 bytes a code or number; prices are log1p(price) here."""
        drawn = self.items(np.arange(self.spec.items))
        codes = {name: values.astype(np.int32) for name, values in drawn.codes.items()}
        return Things(codes, {name: np.log1p(values).astype(np.float32) for name, values in drawn.numbers.items()})

    def users(self, numbers: Ints) -> Things:
        """The users of these numbers."""
        sizes = PROFILES[self.spec.shape]
        drawn = shorts(stream(self.spec.seed, "profile"), numbers, len(sizes))
        codes = {name: 1 + below(drawn[:, place], size) for place, (name, size) in enumerate(sizes.items())}
        if self.spec.shape == "flat":
            return Things(codes)
        activity = np.floor(np.exp(3.0 + 1.2 * self._normal("activity", numbers)))
        return Things(codes, {"activity": activity}, self._histories(numbers, codes["segment"]))

    def items(self, numbers: Ints) -> Things:
        """The items of these numbers, without lists."""
        if self.spec.shape == "flat":
            drawn = shorts(stream(self.spec.seed, "catalogue"), numbers, len(FLAT_CATALOGUE))
            sizes = enumerate(FLAT_CATALOGUE.items())
            return Things({name: 1 + below(drawn[:, place], size) for place, (name, size) in sizes})
        price = np.round(np.exp(3.5 + 1.2 * self._normal("price", numbers)), 2)
        return Things(self._goods(numbers), {"price": price})

    def intentions(self, numbers: Ints, category: Ints) -> NDArray[np.int16]:
        """Intentions [WANTED, n] that the items of these numbers and categories serve."""
        drawn = shorts(stream(self.spec.seed, "intention"), numbers, WANTED + 1)
        codes = 1 + ((category - 1)[:, None] * 7 + below(drawn[:, :WANTED], 12)) % INTENTIONS
        return _cut(codes, drawn[:, WANTED])

    def _goods(self, numbers: Ints) -> dict[str, Ints]:
        """Each shop sells few categories, as shops do; some items have no brand."""
        drawn = uniforms(stream(self.spec.seed, "goods"), numbers, 5)
        shop, other = zipf(drawn[:, 0], CATALOGUE["shop"]), zipf(drawn[:, 1], CATALOGUE["category"])
        category = np.where(drawn[:, 2] < 0.7, shop % CATALOGUE["category"], other)
        brand = np.where(drawn[:, 3] < 0.27, 0, 1 + zipf(drawn[:, 4], CATALOGUE["brand"]))
        return {"category": 1 + category, "shop": 1 + shop, "brand": brand}

    def _histories(self, numbers: Ints, segment: Ints) -> dict[str, NDArray[np.int16]]:
        """Of items that the user met before the log, by popularity and by a taste of the user's segment."""
        met = ranked(self.spec, 0)[self._met(numbers)]
        drawn = shorts(stream(self.spec.seed, "history"), numbers, 2 * LONGEST + 2)
        taste = (segment[:, None] * 13 + below(drawn[:, :LONGEST], 8)) % CATALOGUE["category"]
        liked = drawn[:, LONGEST : 2 * LONGEST] < 0.4 * (1 << 16)
        category = np.where(liked, 1 + taste, self.catalogue.codes["category"][met])
        shop = self.catalogue.codes["shop"][met]
        return {"category": _cut(category, drawn[:, -2]), "shop": _cut(shop, drawn[:, -1])}

    def _met(self, numbers: Ints) -> Ints:
        """Ranks of the items met [n, LONGEST], of 32 random bits each."""
        drawn = words(stream(self.spec.seed, "met"), numbers, LONGEST // 2).astype("<u8", copy=False).view("<u4")
        return zipf((drawn + 0.5) * 2.0**-32, len(ranked(self.spec, 0)))

    def _normal(self, name: str, numbers: Ints) -> Floats:
        return normals(stream(self.spec.seed, name), numbers, 1)[:, 0]


def sizes(shape: Shape) -> dict[str, int]:
    """How many ids each coded field of an impression has, `position` left out."""
    crosses = {f"{name}_in_history": CATALOGUES[shape][name] for name in CROSSES[shape]}
    return PROFILES[shape] | CATALOGUES[shape] | MOMENTS[shape] | crosses


def pair_tables(spec: Spec) -> PairTables:
    """The pairs of fields that interact; in `flat` the same for both tasks together and for each alone."""
    if spec.shape == "aliccp":
        return PAIRS
    pairs = tuple(product(*HALVES[spec.half]))
    return {"both": pairs, "click": pairs, "conversion": pairs}


def _cut(codes: Ints, drawn: Shorts) -> NDArray[np.int16]:
    """Codes [n, longest] cut to a random length each, 0 to all: [longest, n]."""
    lengths = below(drawn, codes.shape[1] + 1)
    return np.where(np.arange(codes.shape[1]) < lengths[:, None], codes, 0).T.astype(np.int16, order="C")
