"""Source `synthetic`: a click log drawn from a true probability that is kept beside it, in one of two shapes.

`aliccp` has the fields of Ali-CCP: histories, crosses, numbers. `flat` has twelve categorical fields (see flat_log.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from contract.schema import Field, Kind, Schema, Side, Split, Task
from training.datasets.click_log import (
    CATALOGUE,
    PAIRS,
    PROFILE,
    Floats,
    Goods,
    Ints,
    Log,
    People,
    Size,
    draw_goods,
    draw_log,
    draw_people,
)
from training.datasets.flat_log import CATALOGUE as FLAT_CATALOGUE
from training.datasets.flat_log import EFFECTS as FLAT_EFFECTS
from training.datasets.flat_log import PROFILE as FLAT_PROFILE
from training.datasets.flat_log import Half, draw_flat, pair_tables
from training.datasets.raw import Raw, RawTable
from training.datasets.truth import Effects, Impressions, probabilities

Shape = Literal["aliccp", "flat"]
EFFECTS: dict[Shape, Effects] = {"aliccp": Effects(), "flat": FLAT_EFFECTS}


class _Drawn(NamedTuple):
    """Raw tables without labels, and P(click) and P(conversion | click) of each interaction."""

    interactions: pl.DataFrame
    users: pl.DataFrame
    items: pl.DataFrame
    click: Floats
    conversion: Floats


def draw(size: Size, seed: int, shape: Shape = "aliccp", effects: Effects | None = None, half: Half = "large") -> Raw:
    """Draw raw tables; the same arguments give the same rows. `effects` None: the shape's own; `half`: of `flat`."""
    chosen = EFFECTS[shape] if effects is None else effects
    rngs = [np.random.default_rng([seed, part]) for part in range(4)]
    drawn = _flat(size, rngs, chosen, half) if shape == "flat" else _aliccp(size, rngs, chosen)
    clicked = rngs[3].random(size.rows) < drawn.click
    converted = clicked & (rngs[3].random(size.rows) < drawn.conversion)
    interactions = drawn.interactions.with_columns(
        pl.Series("click", clicked.astype(np.int8)),
        pl.Series("conversion", converted.astype(np.int8)),
        pl.Series("truth:ctr", drawn.click),
        pl.Series("truth:cvr", drawn.conversion),
    )
    told = "" if shape == "aliccp" else f", {shape} by {half} fields"
    told += "".join(f", {name} {value:g}" for name, value in asdict(chosen).items() if value != getattr(Effects, name))
    return Raw(
        f"synthetic: {size.rows} rows, {size.users} users, {size.items} items, seed {seed}{told}",
        synthetic_schema(shape),
        RawTable.of("interactions", interactions),
        RawTable.of("users", drawn.users),
        RawTable.of("items", drawn.items),
    )


def synthetic_schema(shape: Shape = "aliccp") -> Schema:
    """Fields, tasks and split of the synthetic log."""
    return Schema(
        user_key="user_id",
        item_key="item_id",
        time="timestamp",
        fields=_flat_fields() if shape == "flat" else _aliccp_fields(),
        tasks=(Task(name="ctr", label="click"), Task(name="cvr", label="conversion", space="ctr")),
        split=Split(by="time"),
    )


def _aliccp(size: Size, rngs: Sequence[np.random.Generator], effects: Effects) -> _Drawn:
    people_rng, goods_rng, log_rng, truth_rng = rngs
    goods = draw_goods(goods_rng, size.items)
    people = draw_people(people_rng, size.users, goods)
    log = draw_log(log_rng, size, people, goods)
    truth = probabilities(truth_rng, size, effects, _impressions(people, goods, log), PAIRS)
    return _Drawn(_interactions(log), _users(people), _items(goods), *truth)


def _impressions(people: People, goods: Goods, log: Log) -> Impressions:
    codes = {name: values[log.user] for name, values in people.profile.items()}
    codes |= {name: values[log.item] for name, values in goods.catalogue.items()}
    numbers = {"activity": np.log1p(people.activity)[log.user], "price": np.log1p(goods.price)[log.item]}
    return Impressions(log.user, log.item, codes | log.codes, numbers)


def _flat(size: Size, rngs: Sequence[np.random.Generator], effects: Effects, half: Half) -> _Drawn:
    people_rng, goods_rng, log_rng, truth_rng = rngs
    log = draw_flat(people_rng, goods_rng, log_rng, size)
    truth = probabilities(truth_rng, size, effects, log.impressions, pair_tables(half))
    columns = {"user_id": _named("u", log.user), "item_id": _named("i", log.item), "timestamp": pl.Series(log.time)}
    columns |= {"hour": _named("", log.codes["hour"]), "position": pl.Series(log.codes["position"] + 1)}
    users = {"user_id": _named("u", np.arange(size.users))} | _unnamed(log.profile)
    items = {"item_id": _named("i", np.arange(size.items))} | _unnamed(log.catalogue)
    return _Drawn(pl.DataFrame(columns), pl.DataFrame(users), pl.DataFrame(items), *truth)


def _flat_fields() -> tuple[Field, ...]:
    named = ((Side.USER, ("user_id", *FLAT_PROFILE)), (Side.ITEM, ("item_id", *FLAT_CATALOGUE)))
    stored = (Field(name=name, side=side) for side, names in named for name in names)
    return (
        *stored,
        Field(name="hour", side=Side.CONTEXT),
        Field(name="position", side=Side.CROSS, default="1"),
    )


def _aliccp_fields() -> tuple[Field, ...]:
    user = [Field(name=name, side=Side.USER) for name in ("user_id", *PROFILE)]
    user += [
        Field(name=f"history_{name}", side=Side.USER, kind=Kind.MULTI, max_length=length)
        for name, length in (("category", 20), ("shop", 20))
    ]
    user.append(Field(name="activity", side=Side.USER, kind=Kind.NUMERIC, transform="log1p"))
    item = [Field(name=name, side=Side.ITEM) for name in ("item_id", *CATALOGUE)]
    item.append(Field(name="intention", side=Side.ITEM, kind=Kind.MULTI, max_length=5))
    item.append(Field(name="price", side=Side.ITEM, kind=Kind.NUMERIC, transform="log1p"))
    context = [Field(name=name, side=Side.CONTEXT) for name in ("scene", "hour")]
    cross = [Field(name=f"{name}_in_history", side=Side.CROSS) for name in ("category", "shop")]
    cross.append(Field(name="position", side=Side.CROSS, default="1"))
    return (*user, *item, *context, *cross)


def _interactions(log: Log) -> pl.DataFrame:
    columns = {"user_id": _named("u", log.user), "item_id": _named("i", log.item), "timestamp": pl.Series(log.time)}
    shown = {"scene": "s", "hour": "", "category_in_history": "c", "shop_in_history": "shop"}
    columns |= {name: _named(prefix, log.codes[name]) for name, prefix in shown.items()}
    return pl.DataFrame(columns | {"position": pl.Series(log.codes["position"] + 1)})


def _users(people: People) -> pl.DataFrame:
    columns = {"user_id": _named("u", np.arange(len(people.activity)))}
    columns |= _unnamed(people.profile)
    columns |= {
        f"history_{name}": _joined(prefix, people.histories[name])
        for name, prefix in (("category", "c"), ("shop", "shop"))
    }
    return pl.DataFrame(columns | {"activity": pl.Series(people.activity)})


def _items(goods: Goods) -> pl.DataFrame:
    prefixes = {"category": "c", "shop": "shop", "brand": "b"}
    columns = {"item_id": _named("i", np.arange(len(goods.price)))}
    columns |= {name: _named(prefix, goods.catalogue[name]) for name, prefix in prefixes.items()}
    columns |= {"intention": _joined("n", goods.intentions), "price": pl.Series(goods.price)}
    return pl.DataFrame(columns)


def _named(prefix: str, codes: Ints) -> pl.Series:
    """Codes as texts; -1 as null."""
    texts = pl.Series(codes).cast(pl.String)
    return (prefix + texts).set(pl.Series(codes < 0), None)


def _unnamed(codes: Mapping[str, Ints]) -> dict[str, pl.Series]:
    return {name: _named("", values) for name, values in codes.items()}


def _joined(prefix: str, codes: Ints) -> pl.Series:
    """Lists of codes [n, length] as texts joined by |; null where empty."""
    lists = pl.Series(codes, dtype=pl.Array(pl.Int64, codes.shape[1])).cast(pl.List(pl.Int64)).alias("codes")
    named = pl.element().filter(pl.element() >= 0).cast(pl.String)
    texts = lists.to_frame().select(pl.col("codes").list.eval(prefix + named).list.join("|")).to_series()
    return texts.set(texts == "", None)
