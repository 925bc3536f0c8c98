"""What the sums must be, by plain loops over all records at the end; shares no code with the reducer."""

from collections import Counter, defaultdict
from typing import Any

HOUR, DAY = 3_600_000, 86_400_000
Record = dict[str, Any]


class Reference:
    """One look at all records, in the order of the log."""

    def __init__(self, records: list[Record], rules: dict[str, dict[str, Any]]) -> None:
        self.rules = rules  # by experiment: click and conversion hours, prior days, cap in millionths
        self.records = self._accepted(records)

    def _accepted(self, records: list[Record]) -> list[Record]:
        """Without what was written twice and what is too late."""
        seen, now, limit, horizon, kept = set[tuple[str, int]](), 0, 0, 8 * DAY, []
        for record in records:
            if (record["producer"], record["number"]) in seen:
                continue
            seen.add((record["producer"], record["number"]))
            if record["kind"] == "exposure":
                now = max(now, record["time"])
                limit = max(limit, now - horizon)
                rules = self.rules[record["key"]]
                horizon = max(horizon, max(rules["click"], rules["conversion"]) * HOUR + DAY)
            if record["kind"] == "dropped" or record["time"] >= limit:
                kept.append(record)
        return kept

    def users(self, key: str) -> dict[str, dict[str, Any]]:
        """Columns of each user of an experiment."""
        rules, mine = self.rules[key], defaultdict[str, list[Record]](list)
        for record in self.records:
            if record["kind"] != "dropped":
                mine[record["user"]].append(record)
        found = {}
        for user, records in mine.items():
            shown = [each for each in records if each["kind"] == "exposure" and each["key"] == key]
            shown = [each for each in shown if each["reason"] == "assigned"]
            if shown:
                found[user] = self._columns(records, shown, rules)
        return found

    def _columns(self, records: list[Record], shown: list[Record], rules: dict[str, Any]) -> dict[str, Any]:
        first = min(shown, key=lambda each: (each["time"], each["arm"], each["config"]))
        columns = Counter[str](users=1, exposures=len(shown), predicted=sum(each["predicted"] for each in shown))
        ids, until = set[str](), first["time"] // DAY * DAY
        since = until - rules["prior_days"] * DAY
        claimed = dict[str, bool]()
        for each in records:
            prior = since <= each["time"] < until
            if each["kind"] == "exposure":
                columns["prior_exposures"] += prior
                continue
            if each["id"] in ids:
                columns["duplicates"] += claimed[each["id"]]
                continue
            ids.add(each["id"])
            window = rules["click" if each["kind"] == "click" else "conversion"] * HOUR
            counts = claimed[each["id"]] = any(0 <= each["time"] - one["time"] <= window for one in shown)
            columns["unattributed"] += not counts and each["time"] >= first["time"]
            if each["kind"] in ("click", "conversion"):
                columns[each["kind"] + "s"] += counts
                columns[f"prior_{each['kind']}s"] += prior
            if each["kind"] in ("conversion", "value"):
                columns["value"] += counts * each.get("value", 0)
                columns["prior_value"] += prior * each.get("value", 0)
        if rules["cap"] is not None:
            columns["value"] = min(columns["value"], rules["cap"])
            columns["prior_value"] = min(columns["prior_value"], rules["cap"])
        crossed = len({each["arm"] for each in shown}) > 1
        return {"first": first, "crossed": crossed, **{name: columns[name] for name in _NAMES}}

    def sums(self, key: str) -> dict[str, dict[str, Any]]:
        """By arm: products of each pair of columns, and the counters beside them."""
        arms: dict[str, dict[str, Any]] = defaultdict(lambda: defaultdict(int))
        for columns in self.users(key).values():
            first = columns["first"]
            arm = arms[first["arm"]]
            for i, one in enumerate(_COLUMNS):
                for other in _COLUMNS[i:]:
                    arm[f"{one}*{other}"] += columns[one] * columns[other]
            arm["crossed"] += columns["crossed"]
            arm[f"version {first['config']}"] += 1
            for field, value in first.get("segments", {}).items():
                arm[f"segment {field}={value}"] += 1
        for each in self.records:
            if each["kind"] == "dropped":
                for name, count in each["counts"].items():
                    if name.startswith(f"{key}/"):
                        arms[name.split("/")[2]]["dropped"] += count
            elif each["kind"] == "exposure" and each["key"] == key:
                arm = arms[each["arm"]]
                arm["overridden"] += each["reason"] != "assigned"
                if each["reason"] == "assigned":
                    arm["fallbacks"] += each["served"] != each["arm"]
                    arm[f"model {each['model']}"] += 1
        return {name: {what: count for what, count in arm.items() if count} for name, arm in arms.items()}

    def total(self, key: str, column: str) -> int:
        """Of all users."""
        return sum(columns[column] for columns in self.users(key).values())


_COLUMNS = (
    "users", "exposures", "clicks", "conversions", "value", "predicted", "prior_exposures", "prior_clicks",
    "prior_conversions", "prior_value",
)  # fmt: skip
_NAMES = (*_COLUMNS, "unattributed", "duplicates")
