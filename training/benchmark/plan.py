"""What is compared: models and variants of them, each with its recipe; and the file that keeps a folder to one plan."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field as Attribute
from pydantic import ValidationError

from contract.errors import ConfigError, first_error
from contract.files import sha256, write_text
from contract.schema import Name, Strict
from training.config import Recipe, read_recipe
from training.datasets.prepared import Prepared

FILE = "benchmark.json"
VARIANT = re.compile(r"(?P<name>[^=:]+)=(?P<model>\w+):(?P<settings>.+)")
Result = TypeVar("Result", bound=Strict)
BETWEEN = re.compile(r",(?=[\w.]+=)")  # commas inside [a,b] stay


class Entry(Strict):
    """A model under a name, with `key=value` settings over its recipe: those of all, and a variant's `own`."""

    name: Name
    model: str
    common: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    def recipe(self, tuned: Sequence[str] = ()) -> Recipe:
        """The recipe's file, the settings of all, those tuned, those of the variant."""
        return read_recipe(self.model, None, [*self.common, *tuned, *self.own])

    @property
    def fixed(self) -> set[str]:
        """Keys that are set for all, and so not tuned."""
        return {assignment.partition("=")[0].strip() for assignment in self.common}

    @property
    def plain(self) -> "Entry":
        """The model that this is a variant of: what is tuned."""
        return Entry(name=self.model, model=self.model, common=self.common)


class Plan(Strict):
    """`benchmark.json`: the data set, and of each model the recipe it started from and what may be tuned."""

    format_version: int = 1
    source: str
    data: dict[str, str]  # file → digest
    recipes: dict[str, dict[str, Any]] = Attribute(default_factory=dict)  # by entry
    search: dict[str, dict[str, Any]] = Attribute(default_factory=dict)  # by model: trials and space


def entries(models: Sequence[str], variants: Sequence[str], settings: Sequence[str]) -> list[Entry]:
    """Models, then variants written NAME=MODEL:key=value,key=value; ConfigError where two share a name."""
    found = [Entry(name=model, model=model, common=tuple(settings)) for model in models]
    found += [_variant(text, settings) for text in variants]
    names = [entry.name for entry in found]
    if doubled := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"'{doubled[0]}' is asked for twice; give each variant a name of its own")
    for entry in found:
        entry.recipe()  # a typo is an error now, not after hours
    return found


def _variant(text: str, settings: Sequence[str]) -> Entry:
    parts = VARIANT.fullmatch(text)
    if parts is None:
        raise ConfigError(f"--variant {text}: write NAME=MODEL:key=value,key=value, as dtn-no-tsn=dtn:model.tsn=false")
    own = tuple(BETWEEN.split(parts["settings"]))
    try:
        return Entry(name=parts["name"], model=parts["model"], common=tuple(settings), own=own)
    except ValidationError as error:
        raise ConfigError(f"--variant {text}: {first_error(error)}") from None


def plan_of(data: Prepared, chosen: Sequence[Entry], search: Mapping[str, dict[str, Any]]) -> Plan:
    """The plan of this command."""
    files = {"schema": data.schema.fingerprint()}
    for file in sorted((data.path / "interactions").glob("*/*.parquet")):
        files[f"{file.parent.name}/{file.name}"] = sha256(file)
    recipes = {entry.name: entry.recipe().model_dump(mode="json") for entry in chosen}
    return Plan(source=data.description.source, data=files, recipes=recipes, search=dict(search))


def parse_result(kind: type[Result], file: Path) -> Result:
    """A finished trial or run; ConfigError where the file is damaged or of another version."""
    try:
        return kind.model_validate_json(file.read_bytes())
    except ValidationError as error:
        raise ConfigError(f"{file}: {first_error(error)}; remove it to run it again") from None


def keep_to(out: Path, plan: Plan) -> None:
    """Write the plan, joined with an earlier one; ConfigError where they contradict each other."""
    earlier = _read(out)
    if earlier is not None:
        _refuse_another(out, earlier, plan)
        recipes, search = {**earlier.recipes, **plan.recipes}, {**earlier.search, **plan.search}
        plan = plan.model_copy(update={"recipes": recipes, "search": search})
    write_text(out / FILE, plan.model_dump_json(indent=1) + "\n")


def _read(out: Path) -> Plan | None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out}: is a file; choose another --out")
    try:
        return Plan.model_validate_json((out / FILE).read_bytes())
    except FileNotFoundError:
        if out.is_dir() and any(out.iterdir()):
            raise ConfigError(f"{out}: holds files that are no benchmark; choose another --out") from None
        return None
    except ValidationError as error:
        raise ConfigError(f"{out / FILE}: {first_error(error)}; choose another --out") from None


def _refuse_another(out: Path, earlier: Plan, plan: Plan) -> None:
    if earlier.data != plan.data:
        raise ConfigError(
            f"{out}: holds results on other data ({earlier.source}) than these ({plan.source}); choose another --out"
        )
    for kind, before, now in (
        ("recipe", earlier.recipes, plan.recipes),
        ("search (--trials or its space)", earlier.search, plan.search),
    ):
        for name in now:
            if name in before and before[name] != now[name]:
                raise ConfigError(
                    f"{out}: holds results of '{name}' with another {kind} ({_changed(before[name], now[name])}); "
                    "choose another --out, or give a variant another name"
                )


def _changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first key that differs, as `learning_rate 0.001 → 0.01`."""
    key = next(key for key in sorted({*before, *now}) if before.get(key) != now.get(key))
    old, new = before.get(key), now.get(key)
    if isinstance(old, dict) and isinstance(new, dict):
        return f"{key}.{_changed(old, new)}"
    return f"{key} {json.dumps(old)} → {json.dumps(new)}"
