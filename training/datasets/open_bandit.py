"""Source `open_bandit`: the Open Bandit Dataset, small version: fashion items recommended by two policies.

There is no user id: `user_id` stands for one combination of the four user features. The policy and its propensity are
not inputs: a service does not know them. Both policies' files code the same item features by different digests; those
of `random` are used for both. The files hold single impressions drawn from a larger log, so that a request's other
positions are mostly absent; but each row knows the user's affinity with every item: whole candidate sets are real.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import polars as pl

from contract.schema import Field, Kind, Schema, Side, Split, Task
from training.datasets.files.raw_file import read_table
from training.datasets.raw import HeldRaw, RawTable

POLICIES, CAMPAIGNS = ("random", "bts"), ("men", "women")
USER = tuple(f"user_feature_{i}" for i in range(4))
AFFINITY = "user-item_affinity_"
ITEM = tuple(f"item_feature_{i}" for i in range(4))


@dataclass(frozen=True)
class Candidate:
    """An item in a request: `features` are its cross features; `click` is None where it was not shown."""

    id: str
    features: dict[str, str | float]
    click: int | None


@dataclass(frozen=True)
class Slate:
    """One real request: what was shown, by position, and the user's affinity with every item of the campaign."""

    policy: str
    time: str
    user_id: str
    user: dict[str, str]
    context: dict[str, str]
    shown: tuple[Candidate, ...]
    affinities: dict[str, float]  # by item id

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every item that could have been shown; at position 1, unless it was shown at another."""
        shown = {item.id: item for item in self.shown}
        others = {
            item: Candidate(item, {"position": "1", "affinity": value}, None) for item, value in self.affinities.items()
        }
        return tuple((others | shown).values())


def read_open_bandit(raw: Path) -> HeldRaw:
    """Read both policies and campaigns."""
    rows = pl.concat([_impressions(raw, policy, campaign) for policy in POLICIES for campaign in CAMPAIGNS])
    items = pl.concat([_items(raw, campaign) for campaign in CAMPAIGNS])
    users = rows.select("user_id", *USER).unique("user_id", maintain_order=True)
    names = {name: str(raw / name) for name in ("impressions", "users", "items")}
    return HeldRaw(
        "open_bandit",
        open_bandit_schema(),
        RawTable.of(names["impressions"], rows.drop(USER)),
        RawTable.of(names["users"], users),
        RawTable.of(names["items"], items),
    )


def open_bandit_schema() -> Schema:
    """Click on an item at a position, by who sees it and when."""
    user = [Field(name=name, side=Side.USER) for name in ("user_id", *USER)]
    item = [Field(name="item_id", side=Side.ITEM)]
    item.append(Field(name=ITEM[0], side=Side.ITEM, kind=Kind.NUMERIC))
    item += [Field(name=name, side=Side.ITEM) for name in ITEM[1:]]
    context = [Field(name=name, side=Side.CONTEXT) for name in ("campaign", "hour")]
    cross = [
        Field(name="position", side=Side.CROSS, default="1"),
        Field(name="affinity", side=Side.CROSS, kind=Kind.NUMERIC, transform="log1p"),
    ]
    return Schema(
        user_key="user_id",
        item_key="item_id",
        time="timestamp",
        fields=(*user, *item, *context, *cross),
        tasks=(Task(name="ctr", label="click"),),
        split=Split(by="time"),
    )


def slates(raw: Path) -> Iterator[Slate]:
    """Real requests, in time order inside a file: rows of one user and moment are one slate."""
    for policy in POLICIES:
        for campaign in CAMPAIGNS:
            rows = impressions_log(raw, policy, campaign).sort("timestamp", "user_id", "position", maintain_order=True)
            by_request = groupby(rows.iter_rows(named=True), lambda row: (row["timestamp"], row["user_id"]))
            yield from (_slate(policy, campaign, list(group)) for _, group in by_request)


def _slate(policy: str, campaign: str, rows: list[dict[str, str]]) -> Slate:
    first = rows[0]
    affinities = {
        f"{campaign}:{name.removeprefix(AFFINITY)}": float(value)
        for name, value in first.items()
        if name.startswith(AFFINITY)
    }
    ids = [f"{campaign}:{row['item']}" for row in rows]
    shown = (
        Candidate(item, {"position": row["position"], "affinity": affinities[item]}, int(row["click"]))
        for item, row in zip(ids, rows, strict=True)
    )
    user = {name: first[name] for name in USER}
    context = {"campaign": campaign, "hour": first["hour"]}
    return Slate(policy, first["timestamp"], first["user_id"], user, context, tuple(shown), affinities)


def impressions_log(raw: Path, policy: str, campaign: str) -> pl.DataFrame:
    """Raw rows with user id, hour (UTC) and item, all as text."""
    table = read_table(raw / policy / campaign / f"{campaign}.csv.gz")
    for name in ("timestamp", "item_id", "position", "click", *USER):
        table.column(name, "Open Bandit Dataset")
    rows = table.frame.rename({"item_id": "item"})
    ids = {key: _user_id(key) for key in rows.select(USER).unique().rows()}
    keys = pl.Series("user_id", [ids[key] for key in rows.select(USER).rows()])
    hour = pl.col("timestamp").str.slice(11, 2).str.strip_prefix("0")
    return rows.with_columns(keys, hour.alias("hour"), pl.lit(campaign).alias("campaign"))


def _impressions(raw: Path, policy: str, campaign: str) -> pl.DataFrame:
    rows = impressions_log(raw, policy, campaign)
    affinities = [name for name in rows.columns if name.startswith(AFFINITY)]
    shown = [pl.when(pl.col("item") == name.removeprefix(AFFINITY)).then(pl.col(name)) for name in affinities]
    return rows.select(
        "user_id",
        (pl.col("campaign") + ":" + pl.col("item")).alias("item_id"),
        "timestamp",
        "campaign",
        "hour",
        "position",
        pl.coalesce(shown).alias("affinity"),
        "click",
        *USER,
    )


def _items(raw: Path, campaign: str) -> pl.DataFrame:
    table = read_table(raw / POLICIES[0] / campaign / "item_context.csv.gz", ("item_id", *ITEM))
    for name in ("item_id", *ITEM):
        table.column(name, "Open Bandit Dataset")
    return table.frame.with_columns(item_id=campaign + ":" + pl.col("item_id"))


def _user_id(features: tuple[str, ...]) -> str:
    return "u" + hashlib.sha256("|".join(features).encode()).hexdigest()[:12]
