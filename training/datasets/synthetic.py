"""Source `synthetic`: a click log in the shape of Ali-CCP, drawn from a true probability that is kept beside it."""

import numpy as np
import polars as pl

from contract.schema import Field, Kind, Schema, Side, Split, Task
from training.datasets.click_log import (
    CATALOGUE,
    PROFILE,
    Goods,
    Ints,
    Log,
    People,
    Size,
    draw_goods,
    draw_log,
    draw_people,
    probabilities,
)
from training.datasets.raw import Raw, RawTable


def draw(size: Size, seed: int) -> Raw:
    """Draw raw tables; the same size and seed give the same rows."""
    people_rng, goods_rng, log_rng, truth_rng = (np.random.default_rng([seed, part]) for part in range(4))
    goods = draw_goods(goods_rng, size.items)
    people = draw_people(people_rng, size.users, goods)
    log = draw_log(log_rng, size, people, goods)
    click, conversion = probabilities(truth_rng, size, people, goods, log)
    clicked = truth_rng.random(size.rows) < click
    converted = clicked & (truth_rng.random(size.rows) < conversion)
    interactions = _interactions(log).with_columns(
        pl.Series("click", clicked.astype(np.int8)),
        pl.Series("conversion", converted.astype(np.int8)),
        pl.Series("truth:ctr", click),
        pl.Series("truth:cvr", conversion),
    )
    return Raw(
        f"synthetic: {size.rows} rows, {size.users} users, {size.items} items, seed {seed}",
        synthetic_schema(),
        RawTable.of("interactions", interactions),
        RawTable.of("users", _users(people)),
        RawTable.of("items", _items(goods)),
    )


def synthetic_schema() -> Schema:
    """Fields, tasks and split of the synthetic log."""
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
    return Schema(
        user_key="user_id",
        item_key="item_id",
        time="timestamp",
        fields=(*user, *item, *context, *cross),
        tasks=(Task(name="ctr", label="click"), Task(name="cvr", label="conversion", space="ctr")),
        split=Split(by="time"),
    )


def _interactions(log: Log) -> pl.DataFrame:
    columns = {"user_id": _named("u", log.user), "item_id": _named("i", log.item), "timestamp": pl.Series(log.time)}
    shown = {"scene": "s", "hour": "", "category_in_history": "c", "shop_in_history": "shop"}
    columns |= {name: _named(prefix, log.codes[name]) for name, prefix in shown.items()}
    return pl.DataFrame(columns | {"position": pl.Series(log.codes["position"] + 1)})


def _users(people: People) -> pl.DataFrame:
    columns = {"user_id": _named("u", np.arange(len(people.activity)))}
    columns |= {name: _named("", codes) for name, codes in people.profile.items()}
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


def _joined(prefix: str, codes: Ints) -> pl.Series:
    """Lists of codes [n, length] as texts joined by |; null where empty."""
    lists = pl.Series(codes, dtype=pl.Array(pl.Int64, codes.shape[1])).cast(pl.List(pl.Int64)).alias("codes")
    named = pl.element().filter(pl.element() >= 0).cast(pl.String)
    texts = lists.to_frame().select(pl.col("codes").list.eval(prefix + named).list.join("|")).to_series()
    return texts.set(texts == "", None)
