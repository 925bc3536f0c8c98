"""Logs to count: drawn at random, with everything in them that can go wrong."""

import random
from pathlib import Path
from typing import Any

import orjson

from service.experiments.config import Measure
from service.experiments.outcomes.sums import ExperimentSums, PhaseRules
from tests.service.experiments.outcomes.reference import DAY, HOUR, Record, Reference

START = 1_790_000_000_000
RULES: dict[str, dict[str, Any]] = {
    "short": {"click": 2, "conversion": 30, "prior_days": 3, "cap": 25_000_000},
    "long": {"click": 300, "conversion": 40, "prior_days": 14, "cap": None},
}
EXPERIMENTS = "version: 1\ndefault_model: ple\nlayers:\n" + "".join(
    f"  - name: {key}\n    salt: {key}\n    experiments:\n      - key: {key}\n        slots: [[0, 10000]]\n"
    f"        arms: [{{name: a, weight: 5000}}, {{name: b, weight: 5000}}]\n"
    f"        measure: {{click_hours: {each['click']}, conversion_hours: {each['conversion']}, "
    f"prior_days: {each['prior_days']}{'' if each['cap'] is None else ', value_cap: 25'}}}\n"
    for key, each in RULES.items()
)


def rules_of(key: str, phase: int, version: int) -> PhaseRules:
    """As in EXPERIMENTS."""
    rules = RULES[key]
    cap = None if rules["cap"] is None else rules["cap"] / 1_000_000
    measure = Measure(
        click_hours=rules["click"], conversion_hours=rules["conversion"], prior_days=rules["prior_days"], value_cap=cap
    )
    return PhaseRules(measure, 60)


def draw(
    count: int, seed: int, days: float = 40, users: int = 30, producers: int = 2, latest: int = 30 * DAY
) -> list[Record]:
    """Records in the order of the log; times stray, records and events come twice, users cross, exposures come late."""
    random_ = random.Random(seed)
    numbers, records, events = dict.fromkeys(range(producers), 0), list[Record](), list[Record]()
    for i in range(count):
        now = START + round(i / count * days * DAY)
        draw_ = random_.random()
        if draw_ < 0.05 and events:
            record = dict(random_.choice(events))
        elif draw_ < 0.5:
            record = _exposure(random_, now, random_.randrange(users), i, latest)
        elif draw_ < 0.99:
            record = _event(random_, now, random_.randrange(users), i, latest)
            events.append(record)
        else:
            record = {"kind": "dropped", "time": now, "counts": {"short/1/a": random_.randrange(9), "long/1/b": 1}}
        producer = random_.randrange(producers)
        numbers[producer] += 1
        record = {"producer": f"p{producer}", "number": numbers[producer], **record}
        records += [record, record] if random_.random() < 0.02 else [record]
    return records


def _exposure(random_: random.Random, now: int, user: int, i: int, latest: int) -> Record:
    late = min(latest, random_.choice((0, 0, 0, HOUR, 30 * HOUR, 6 * DAY, 20 * DAY)))
    key = random_.choice(("short", "long"))
    arm = "ab"[user % 2] if random_.random() < 0.9 else "ab"[1 - user % 2]
    return {
        "kind": "exposure", "time": now - random_.randrange(late + 1000), "request": f"r{i}", "user": f"u{user}",
        "key": key, "phase": 1, "arm": arm, "served": random_.choice((arm, arm, "a")), "model": f"m-{arm}@1",
        "slot": 7, "reason": random_.choice(("assigned", "assigned", "assigned", "override")),
        "config": 1 + i % 3, "items": 5, "predicted": random_.randrange(1_000_000),
        "segments": {"scene": random_.choice(("home", "search"))},
    }  # fmt: skip


def _event(random_: random.Random, now: int, user: int, i: int, latest: int) -> Record:
    kind = random_.choice(("click", "click", "conversion", "value"))
    stray = min(latest, random_.choice((0, HOUR, 30 * HOUR, 5 * DAY, 30 * DAY)))
    event: Record = {
        "kind": kind, "time": now - random_.randrange(stray + 1000) + 500, "id": f"e{i}", "user": f"u{user}",
    }  # fmt: skip
    if kind != "click" or random_.random() < 0.5:
        event["value"] = random_.randrange(-1_000_000, 30_000_000)
    return event


def write(folder: Path, records: list[Record]) -> None:
    """A file a producer, as the service's file sink writes them."""
    folder.mkdir(parents=True, exist_ok=True)
    for record in records:
        with (folder / f"{record['producer']}.jsonl").open("ab") as file:
            file.write(orjson.dumps(record) + b"\n")


def assert_equal(sums: dict[str, ExperimentSums], records: list[Record]) -> None:
    """Every number of every arm."""
    reference = Reference(records, RULES)
    for key in RULES:
        own = sums[f"{key}/1"]
        assert {name: _flat(arm) for name, arm in own.arms.items()} == reference.sums(key)
        assert own.unattributed == reference.total(key, "unattributed")
        assert own.duplicates == reference.total(key, "duplicates")


def _flat(arm: Any) -> dict[str, int]:
    from service.experiments.outcomes.moments import COLUMNS

    flat = {f"{one}*{other}": arm.moments.product(one, other) for i, one in enumerate(COLUMNS) for other in COLUMNS[i:]}
    flat |= {name: getattr(arm, name) for name in ("crossed", "dropped", "overridden", "fallbacks")}
    flat |= {f"version {version}": count for version, count in arm.versions.items()}
    flat |= {f"segment {segment}": count for segment, count in arm.segments.items()}
    flat |= {f"model {model}": count for model, count in arm.models.items()}
    return {name: count for name, count in flat.items() if count}
