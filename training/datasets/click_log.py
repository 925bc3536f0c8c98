"""A population of users and items, and a log of what they were shown, in the shape of Ali-CCP.

A request shows up to ten items to one user. Users and items are drawn by Zipf's law.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLATE = 10
START, DAYS = 1_767_225_600, 8  # 2026-01-01, in seconds
ZIPF = 1.05
PROFILE = {"segment": 97, "gender": 2, "age": 7, "consumption": 3, "shopping_depth": 3, "occupation": 2, "city": 4}
CATALOGUE = {"category": 200, "shop": 1_000, "brand": 500}
INTENTIONS, SCENES = 300, 3
PAIRS = {
    "both": (("age", "category"), ("segment", "category"), ("gender", "shop"), ("scene", "category")),
    "click": (("city", "shop"), ("segment", "brand"), ("hour", "category")),
    "conversion": (("consumption", "brand"), ("shopping_depth", "shop"), ("segment", "shop")),
}

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Size:
    """How much to draw; `conversion_rate` is given a click."""

    rows: int
    users: int = 20_000
    items: int = 5_000
    click_rate: float = 0.039
    conversion_rate: float = 0.08


@dataclass(frozen=True)
class People:
    """Users: profile codes, histories as [users, length] codes with -1 where shorter, activity."""

    profile: dict[str, Ints]
    histories: dict[str, Ints]
    activity: Ints


@dataclass(frozen=True)
class Goods:
    """Items: catalogue codes (-1: missing), intentions [items, length], price."""

    catalogue: dict[str, Ints]
    intentions: Ints
    price: Floats


@dataclass(frozen=True)
class Log:
    """Impressions: row numbers of user and item, and codes of the moment; -1 where missing."""

    user: Ints
    item: Ints
    time: Ints
    codes: dict[str, Ints]


def draw_goods(rng: np.random.Generator, count: int) -> Goods:
    """Each shop sells one brand or so in few categories, as shops do."""
    shop = zipf(rng, CATALOGUE["shop"], count)
    category = np.where(rng.random(count) < 0.7, shop % CATALOGUE["category"], zipf(rng, CATALOGUE["category"], count))
    brand = np.where(rng.random(count) < 0.27, -1, zipf(rng, CATALOGUE["brand"], count))
    intentions = _ragged(rng, (category[:, None] * 7 + rng.integers(0, 12, (count, 5))) % INTENTIONS)
    price = np.round(np.exp(rng.normal(3.5, 1.0, count)), 2).astype(np.float64)
    return Goods({"category": category, "shop": shop, "brand": brand}, intentions, price)


def draw_people(rng: np.random.Generator, count: int, goods: Goods) -> People:
    """Histories are of items that the user met, drawn by popularity and by a taste of the user's segment."""
    profile = {name: rng.integers(0, size, count) for name, size in PROFILE.items()}
    met = zipf(rng, len(goods.price), (count, 20))
    taste = (profile["segment"][:, None] * 13 + rng.integers(0, 8, (count, 20))) % CATALOGUE["category"]
    category = np.where(rng.random((count, 20)) < 0.4, taste, goods.catalogue["category"][met])
    histories = {"category": _ragged(rng, category), "shop": _ragged(rng, goods.catalogue["shop"][met])}
    return People(profile, histories, np.floor(np.exp(rng.normal(3.0, 1.2, count))).astype(np.int64))


def draw_log(rng: np.random.Generator, size: Size, people: People, goods: Goods) -> Log:
    slate = min(SLATE, size.items)
    requests = -(-size.rows // slate)
    user = np.repeat(zipf(rng, size.users, requests), slate)[: size.rows]
    time = np.repeat(START + np.sort(rng.integers(0, DAYS * 86_400, requests)), slate)[: size.rows]
    scene = np.repeat(rng.choice(SCENES, requests, p=(0.6, 0.3, 0.1)), slate)[: size.rows]
    item = draw_slates(rng, size.items, requests, slate).ravel()[: size.rows]
    codes = {"scene": scene, "hour": time % 86_400 // 3_600, "position": np.arange(size.rows) % slate}
    for name in ("category", "shop"):
        value = goods.catalogue[name][item]
        met = (people.histories[name][user] == value[:, None]).any(axis=1)
        codes[f"{name}_in_history"] = np.where(met, value, -1)
    return Log(user, item, time, codes)


def draw_slates(rng: np.random.Generator, items: int, requests: int, length: int) -> Ints:
    """Distinct items in each request, by popularity: [requests, length]."""
    slates = zipf(rng, items, (requests, length))
    while True:
        ordered = np.argsort(slates, axis=1, kind="stable")
        sorted_ = np.take_along_axis(slates, ordered, axis=1)
        again = np.zeros_like(slates, bool)
        np.put_along_axis(again, ordered[:, 1:], sorted_[:, 1:] == sorted_[:, :-1], axis=1)
        if not again.any():
            return slates
        slates[again] = zipf(rng, items, int(again.sum()))


def zipf(rng: np.random.Generator, count: int, shape: int | tuple[int, ...]) -> Ints:
    """Draw from 0..count-1 with probability in proportion to 1 / (1 + i)^ZIPF."""
    cumulative = np.cumsum((1.0 + np.arange(count)) ** -ZIPF)
    return np.searchsorted(cumulative / cumulative[-1], rng.random(shape), side="right").clip(max=count - 1)


def _ragged(rng: np.random.Generator, codes: Ints) -> Ints:
    """Cut each row to a random length, 0 to all, by -1."""
    lengths = rng.integers(0, codes.shape[1] + 1, len(codes))
    return np.where(np.arange(codes.shape[1]) < lengths[:, None], codes, -1)
