"""Draws against the public vectors of Split, Optimizely, GrowthBook and Unleash, and Eppo's definition.

What can be said as a configuration goes through Assignment. Not applicable, and left out:
- GrowthBook: hashes of version 1 (biased across experiments; most of `run`, all of `inNamespace`), weights that do not
  sum to 1 and coverage outside 0..1 (silently repaired there, refused here), forced variations by query string, sticky
  buckets, contextual bandits, prerequisites, and saved groups: other products' features.
- Unleash: units other than the user (sessions, custom fields, random), remote addresses, host names and its constraint
  operators; a toggle that is off is `killed` here. Custom stickiness is tested with its field as the user.
"""

import csv
import json
import os
from collections.abc import Iterator
from functools import cache
from hashlib import md5
from pathlib import Path
from typing import Any

import pytest

from service.experiments.assignment import Assignment
from service.experiments.config import SLOTS, Experiments
from service.experiments.hashing import ArmDraw, SlotDraw, arm_ranges, growthbook_ranges, hash_of, slot_of
from service.experiments.rules import mistakes

VECTORS = Path(os.environ.get("TWINSCORE_VECTORS", "../shared/vectors"))
needs_vectors = pytest.mark.skipif(
    not VECTORS.is_dir(), reason=f"no public vectors in {VECTORS}; set TWINSCORE_VECTORS"
)
DISABLED = "disabled"  # Unleash's name of no variant


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text(encoding="utf-8"))


@cache
def growthbook() -> Any:
    return vectors("growthbook/cases.json")


def assignment(arms: dict[str, int], layer: dict[str, Any] | None = None, **experiment: Any) -> Assignment:
    """One experiment over all slots of one layer; arms by weight."""
    base = {"key": "one", "slots": [(0, SLOTS)], "arms": [{"name": n, "weight": w} for n, w in arms.items()]}
    layers = [{"name": "l", "salt": "layer", "experiments": [base | experiment]} | (layer or {})]
    config = Experiments.model_validate({"version": 1, "default_model": "md", "layers": layers})
    assert not list(mistakes(config))
    return Assignment(config)


@needs_vectors
@pytest.mark.parametrize("name", ["murmur3-sample-data-v2.first2000.csv", "murmur3-custom-uuids.csv"])
def test_the_hash_is_murmur3_x86_32(name: str) -> None:
    with (VECTORS / "split" / name).open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if len(row) == 4 and row[0].isdigit()]
    assert len(rows) >= 500
    for seed, key, hashed, bucket in rows:
        for cut in (0, len(key) // 2):  # wherever the salt ends
            own = hash_of("murmur3", key[:cut], int(seed))(key[cut:])
            assert own == int(hashed)
            assert own % 100 + 1 == int(bucket)


@needs_vectors
def test_murmur3_scales_as_optimizelys_buckets() -> None:
    # their seed is 1 and nothing stands between the ids: what is shared is the hash and (h * 10000) >> 32
    cases = vectors("optimizely/bucket_values.json")["vectors"]
    assert len(cases) == 5
    for unit, parent, bucket in cases:
        assert hash_of("murmur3", unit, 1)(parent) * SLOTS >> 32 == bucket


@pytest.mark.parametrize(
    ("salt", "unit", "slot"),
    # slots that this rule gave when it was fixed: changing one of them moves users of running experiments
    [
        ("ranking", "u1", 6_498),
        ("ranking", "42", 8_782),
        ("dtn-vs-ple.1", "u1", 1_503),
        ("ranking", "日本", 2_505),
        ("ranking", "😀", 4_904),
        ("ranking", "", 9_771),
    ],
)
def test_slots_never_change(salt: str, unit: str, slot: int) -> None:
    assert slot_of(salt, unit) == slot


def test_text_is_utf8_and_a_separator_keeps_salt_and_unit_apart() -> None:
    for algorithm in ("murmur3", "eppo_md5", "unleash"):
        assert SlotDraw(algorithm, "exp1").hash("23") != SlotDraw(algorithm, "exp12").hash("3")
    assert slot_of("exp1", "23") != slot_of("exp12", "3")
    # GrowthBook has none: its compatibility includes that
    assert SlotDraw("growthbook_v2", "exp1").bucket("23") == SlotDraw("growthbook_v2", "exp12").bucket("3")
    fnv = 0x811C9DC5
    for byte in "é日".encode():
        fnv = (fnv ^ byte) * 16_777_619 % 2**32
    again = 0x811C9DC5
    for byte in str(fnv).encode():
        again = (again ^ byte) * 16_777_619 % 2**32
    assert SlotDraw("growthbook_v2", "é").bucket("日") == again % SLOTS


# GrowthBook


@needs_vectors
def test_growthbooks_hash() -> None:
    cases = [case for case in growthbook()["hash"] if case[2] == 2]
    assert len(cases) == 7
    for seed, unit, _, bucket in cases:
        assert ArmDraw("growthbook_v2", seed, [SLOTS]).bucket(unit) / SLOTS == bucket
        assert SlotDraw("growthbook_v2", seed).bucket(unit) / SLOTS == bucket


@needs_vectors
def test_growthbooks_ranges() -> None:
    done = 0
    for _, (arms, coverage, weights), wanted in growthbook()["getBucketRange"]:
        weights = weights or [1 / arms] * arms
        if len(weights) != arms or sum(weights) != 1 or not 0 <= coverage <= 1:
            continue
        ranges = growthbook_ranges(weights, coverage)
        assert [(round(start, 8), round(stop, 8)) for start, stop in ranges] == [tuple(each) for each in wanted]
        whole = arm_ranges("growthbook_v2", [round(weight * SLOTS) for weight in weights], round(coverage * SLOTS))
        for (first, last), (start, stop) in zip(whole, ranges, strict=True):
            assert list(range(first, last)) == [n for n in range(SLOTS) if start <= n / SLOTS < stop]
        done += 1
    assert done == 7


@cache
def user_of_bucket() -> dict[int, str]:
    """A user of each bucket under the seed "seed"."""
    draw = ArmDraw("growthbook_v2", "seed", [SLOTS])
    return {draw.bucket(f"u{i}"): f"u{i}" for i in range(100_000)}


@needs_vectors
def test_growthbooks_choice_of_a_variation() -> None:
    users = user_of_bucket()
    for _, bucket, ranges, wanted in growthbook()["chooseVariation"]:
        starts = [round(start * SLOTS) for start, _ in ranges]
        weights = [stop - start for start, stop in zip(starts, [*starts[1:], SLOTS], strict=True)]
        taken, shares = ranges[0][1] - ranges[0][0], weights[0] / SLOTS
        router = assignment(
            {str(i): weight for i, weight in enumerate(weights)},
            hash="growthbook_v2", salt="seed", coverage=round(taken / shares * SLOTS),
        )  # fmt: skip
        decision = router.decide(users[round(bucket * SLOTS)])
        assert decision.arm == (None if wanted == -1 else str(wanted))
        assert decision.reason == ("not-enrolled" if wanted == -1 else "assigned")


def hashed_by_version_2() -> Iterator[tuple[dict[str, Any], str, int | None, float | None]]:
    """Experiments, the unit, its variation (None: not in) and its bucket where the case tells it."""
    for _, context, experiment, value, inside, _ in growthbook()["run"]:
        if experiment.get("hashVersion") == 2:
            yield experiment, context["attributes"]["id"], value if inside else None, None
    for group in ("feature", "contextualBandit"):
        for _, context, name, result in (case[:4] for case in growthbook()[group]):
            told = result.get("experimentResult", {})
            if told.get("hashUsed") and result["experiment"].get("hashVersion") == 2 and "bucket" in told:
                yield result["experiment"], str(told["hashValue"]), told["variationId"], told["bucket"]
            elif "coverage distribution" in str(context) and not told:
                yield context["features"][name]["rules"][0], context["attributes"]["id"], None, None


@needs_vectors
def test_growthbooks_experiments_of_hash_version_2() -> None:
    cases = list(hashed_by_version_2())
    assert len(cases) >= 25
    for experiment, unit, variation, bucket in cases:
        seed = experiment.get("seed", experiment["key"])
        if bucket is not None:
            assert ArmDraw("growthbook_v2", seed, [SLOTS]).bucket(unit) / SLOTS == bucket
        ranges = experiment.get("ranges")
        weights = [stop - start for start, stop in ranges] if ranges else experiment.get("weights", [0.5, 0.5])
        router = assignment(
            {str(i): round(weight * SLOTS) for i, weight in enumerate(weights)},
            hash="growthbook_v2", salt=seed, coverage=SLOTS if ranges else round(experiment.get("coverage", 1) * SLOTS),
        )  # fmt: skip
        assert router.decide(unit).arm == (None if variation is None else str(variation))


@needs_vectors
def test_growthbooks_filters_and_ranges_are_slots_of_a_layer() -> None:
    def inside(seed: str, ranges: list[list[float]], unit: str) -> bool:
        slots = [(round(start * SLOTS), round(stop * SLOTS)) for start, stop in ranges]
        layer = {"salt": seed, "hash": "growthbook_v2"}
        return assignment({"on": SLOTS}, layer, slots=slots).decide(unit).key is not None

    filtered = [case for case in growthbook()["run"] if "filters" in case[2]]
    assert len(filtered) == 3
    for _, context, experiment, _, wanted, _ in filtered:
        attributes = context["attributes"]
        assert wanted == all(
            inside(each["seed"], each["ranges"], attributes[each.get("attribute", "id")])
            for each in experiment["filters"]
        )
    ranged = 0
    for _, context, name, result in (case[:4] for case in growthbook()["feature"]):
        for rule in context.get("features", {}).get(name, {}).get("rules", []):
            if "force" in rule and "range" in rule and rule.get("hashVersion") == 2:
                found = inside(rule.get("seed", name), [rule["range"]], context["attributes"]["id"])
                assert found == (result["source"] == "force")
                ranged += 1
            elif "force" in rule and rule.get("hashVersion") == 2 and 0 < rule.get("coverage", 0) < 1:
                router = assignment(
                    {"on": SLOTS}, hash="growthbook_v2", salt=name, coverage=round(rule["coverage"] * SLOTS)
                )
                assert (router.decide(context["attributes"]["id"]).arm == "on") == (result["source"] == "force")
                ranged += 1
    assert ranged == 4


def test_growthbooks_floats_decide_at_an_edge() -> None:
    # 0.1 + 0.2 is a little above 0.3 in floats: bucket 3000 stays with the second arm, as in GrowthBook's clients
    assert arm_ranges("growthbook_v2", [1_000, 2_000, 7_000], SLOTS) == [(0, 1_000), (1_000, 3_001), (3_001, SLOTS)]


# Eppo


@pytest.mark.parametrize("unit", ["alice", "42", "日本", "😀", ""])
def test_eppos_shards_are_the_first_four_bytes_of_md5(unit: str) -> None:
    shard = int(md5(f"exp.1-{unit}".encode()).hexdigest()[:8], 16) % SLOTS
    assert ArmDraw("eppo_md5", "exp.1", [SLOTS]).bucket(unit) == shard
    layer = {"salt": "traffic", "hash": "eppo_md5"}
    traffic = int(md5(f"traffic-{unit}".encode()).hexdigest()[:8], 16) % SLOTS
    decision = assignment({"a": shard, "b": SLOTS - shard}, layer, hash="eppo_md5", salt="exp.1").decide(unit)
    assert (decision.slot, decision.arm) == (traffic, "b")  # ranges are half-open: the shard is b's first
    assert assignment({"a": shard + 1, "b": SLOTS - shard - 1}, hash="eppo_md5", salt="exp.1").decide(unit).arm == "a"
    assert assignment({"a": 1, "b": 9_999}, layer, slots=[(traffic, traffic + 1)]).decide(unit).key == "one"
    narrow = [(0, traffic), (traffic + 1, SLOTS)]
    assert assignment({"a": 1, "b": 9_999}, layer, slots=narrow).decide(unit).key is None


# Unleash


def rolled_out(group: str, percent: int, unit: str) -> bool:
    """A gradual rollout: the first `percent` of a layer's slots."""
    layer = {"salt": group, "hash": "unleash"}
    return assignment({"on": 1}, layer, hash="unleash", slots=[(0, percent * 100)]).decide(unit).key is not None


@needs_vectors
def test_unleashs_normalized_values() -> None:
    cases = vectors("unleash/normalized_values.json")["vectors"]
    assert len(cases) == 2
    for unit, group, value in cases:
        assert SlotDraw("unleash", group).bucket(unit) == (value - 1) * 100
        assert (rolled_out(group, value, unit), rolled_out(group, value - 1, unit)) == (True, False)


def unit_of(context: dict[str, Any], stickiness: str) -> str | None:
    """The value of the context that stands for our user."""
    fields = context | context.get("properties", {})
    names = ["userId", "sessionId"] if stickiness == "default" else [stickiness]
    return next((fields[name] for name in names if name in fields), None)


@needs_vectors
@pytest.mark.parametrize(
    ("name", "cases"),
    [
        ("03-gradual-rollout-user-id-strategy", 3),
        ("04-gradual-rollout-session-id-strategy", 3),
        ("10-flexible-rollout-strategy", 6),
        ("12-custom-stickiness", 4),
    ],
)
def test_unleashs_gradual_rollouts(name: str, cases: int) -> None:
    specification, done = vectors(f"unleash/specifications/{name}.json"), 0
    features = {feature["name"]: feature for feature in specification["state"]["features"]}
    for case in specification["tests"]:
        strategies = features[case["toggleName"]]["strategies"]
        parameters = strategies[0]["parameters"]
        strategy = strategies[0]["name"]
        kind = {"gradualRolloutUserId": "userId", "gradualRolloutSessionId": "sessionId"}.get(strategy)
        unit = unit_of(case["context"], kind or parameters["stickiness"])
        percent = int(parameters.get("rollout", parameters.get("percentage")))
        if len(strategies) > 1 or unit is None or percent == 0:  # several ways in; no user; no slots
            continue
        assert rolled_out(parameters["groupId"], percent, unit) == case["expectedResult"], case["description"]
        done += 1
    assert done == cases


@needs_vectors
@pytest.mark.parametrize(
    ("name", "cases"), [("08-variants", 14), ("12-custom-stickiness", 4), ("16-strategy-variants", 6)]
)
def test_unleashs_variants(name: str, cases: int) -> None:
    specification, done = vectors(f"unleash/specifications/{name}.json"), 0
    features = {feature["name"]: feature for feature in specification["state"]["features"]}
    for case in specification["variantTests"]:
        feature = features.get(case["toggleName"], {})
        strategy: dict[str, Any] = next(iter(feature.get("strategies", [])), {})
        variants = strategy.get("variants") or feature.get("variants")
        stickiness = strategy.get("parameters", {}).get("stickiness", "default")
        if variants and "stickiness" in variants[0]:
            stickiness = variants[0]["stickiness"]
        unit = unit_of(case["context"], stickiness)
        if not variants or unit is None or strategy.get("parameters", {}).get("rollout") == "0":
            continue  # no arms; no user; no slots
        group = strategy["parameters"]["groupId"] if strategy.get("variants") else feature["name"]
        overrides = {
            unit: each["name"]
            for each in variants
            for override in each.get("overrides", [])
            for unit in override["values"]
        }
        router = assignment(
            {each["name"]: each["weight"] for each in variants}, {"salt": group, "hash": "unleash"},
            hash="unleash", salt=group, overrides=overrides, killed=not feature["enabled"],
        )  # fmt: skip
        wanted = case["expectedResult"]["name"]
        assert router.decide(unit).arm == (None if wanted == DISABLED else wanted), case["description"]
        done += 1
    assert done == cases


def test_an_unleash_arm_does_not_follow_its_rollout() -> None:
    router = assignment(
        {"a": 1, "b": 1}, {"salt": "group", "hash": "unleash"}, hash="unleash", salt="group", slots=[(0, 1_000)]
    )
    arms = [decision.arm for i in range(20_000) if (decision := router.decide(f"u{i}")).key]
    assert 1_800 < len(arms) < 2_200
    assert 0.45 < arms.count("a") / len(arms) < 0.55
