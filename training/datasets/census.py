"""Source `census`: UCI Census-Income (KDD), its complete test half: 99,762 persons, two binary tasks of one person.

Pair A predicts income above 50,000 and never married; pair B a college degree or more, and never married. Marital
status and the three columns that tell it are never inputs, nor is the sampling weight; pair B also leaves out education
and income. A person stands for a user whose features are stored; there are no items.
"""

from pathlib import Path

import polars as pl

from contract.errors import DataError
from contract.schema import Field, Kind, Schema, Side, Split, Task
from training.datasets.raw import HeldRaw, RawTable
from training.datasets.splits import permuted

FILE = "census-income.test.gz"
COLUMNS = (
    "age",
    "class_of_worker",
    "industry_code",
    "occupation_code",
    "education",
    "wage_per_hour",
    "enrolled_last_week",
    "marital_status",
    "major_industry",
    "major_occupation",
    "race",
    "hispanic_origin",
    "sex",
    "union_member",
    "reason_for_unemployment",
    "employment_status",
    "capital_gains",
    "capital_losses",
    "dividends",
    "tax_filer_status",
    "previous_region",
    "previous_state",
    "household_family_detail",
    "household_summary",
    "instance_weight",
    "migration_msa",
    "migration_region",
    "migration_within_region",
    "same_house_last_year",
    "migration_sunbelt",
    "employer_persons",
    "family_under_18",
    "father_birth_country",
    "mother_birth_country",
    "birth_country",
    "citizenship",
    "self_employed",
    "veteran_questionnaire",
    "veteran_benefits",
    "weeks_worked",
    "year",
    "income",
)
PART = ":part"
FIXED = Split(train=0.7, validation=0.1)  # the benchmark's, by a permutation
NUMERIC = ("age", "employer_persons", "weeks_worked")
HEAVY_TAILED = ("wage_per_hour", "capital_gains", "capital_losses", "dividends")
NEVER_INPUTS = (
    "instance_weight",
    "marital_status",
    "household_family_detail",
    "household_summary",
    "tax_filer_status",
    "income",
)
DEGREES = (
    "Bachelors degree(BA AB BS)",
    "Masters degree(MA MS MEng MEd MSW MBA)",
    "Prof school degree (MD DDS DVM LLB JD)",
    "Doctorate degree(PhD EdD)",
)
PAIRS = {"A": ("income", "never_married"), "B": ("college", "never_married")}


def read_census(raw: Path, pair: str = "A") -> HeldRaw:
    """Read the file, or the folder that holds it, for one pair of tasks."""
    path = raw / FILE if raw.is_dir() else raw
    persons = _persons(path)
    labels = {
        "income": persons["income"].str.starts_with("50000+"),
        "college": persons["education"].is_in(DEGREES),
        "never_married": persons["marital_status"] == "Never married",
    }
    schema = census_schema(pair)
    person = pl.Series("person", range(len(persons)), dtype=pl.Int64)
    interactions = pl.DataFrame({"person": person} | {f"label_{task}": labels[task] for task in PAIRS[pair]})
    users = persons.select(person, *(field.name for field in schema.fields))
    interactions = interactions.with_columns(permuted(FIXED, len(interactions)).alias(PART))
    return HeldRaw(f"census: pair {pair}", schema, RawTable.of(str(path), interactions), RawTable.of(str(path), users))


def census_schema(pair: str) -> Schema:
    """Inputs and tasks of a pair; the split is fixed: 70/10/20 by a permutation with the schema's default seed."""
    dropped = (*NEVER_INPUTS, "education") if pair == "B" else NEVER_INPUTS
    return Schema(
        user_key="person",
        fields=tuple(_field(name) for name in COLUMNS if name not in dropped),
        tasks=tuple(Task(name=task, label=f"label_{task}") for task in PAIRS[pair]),
        split=Split(by="column", column=PART),
    )


def _field(name: str) -> Field:
    if name in HEAVY_TAILED:
        return Field(name=name, side=Side.USER, kind=Kind.NUMERIC, transform="log1p")
    return Field(name=name, side=Side.USER, kind=Kind.NUMERIC if name in NUMERIC else Kind.CATEGORICAL)


def _persons(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise DataError(f"{path}: no such file; --raw names {FILE} or its folder")
    try:
        persons = pl.read_csv(path, has_header=False, infer_schema=False, quote_char=None, glob=False)
    except (pl.exceptions.PolarsError, OSError, EOFError) as error:
        raise DataError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from None
    if persons.width != len(COLUMNS) or persons.to_series(-1).null_count():
        raise DataError(f"{path}: not Census-Income (KDD): {len(COLUMNS)} cells a row are needed")
    return persons.rename(dict(zip(persons.columns, COLUMNS, strict=True))).select(pl.all().str.strip_chars())
