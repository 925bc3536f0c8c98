"""A drafted schema works unedited where names are plain, and explains itself where they are not."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from contract.errors import DataError
from contract.schema import Field, Schema, parse_schema
from tests.training.datasets.shop import interactions, items, users
from tests.training.datasets.synthetic.drawn import all_rows, texts
from training.__main__ import main
from training.datasets.drafting.draft import draft
from training.datasets.prepared import Prepared
from training.datasets.raw import RawTable
from training.datasets.synthetic.fields import synthetic_schema
from training.datasets.synthetic.spec import Spec
from training.datasets.synthetic.tables import draw

N = 300


def table(frame: pl.DataFrame, where: str = "interactions.csv") -> RawTable:
    """As a CSV would be read."""
    return RawTable.of(where, frame.select(pl.all().cast(pl.String)))


def log(**columns: object) -> pl.DataFrame:
    """Requests of three rows by 30 users on 20 items; with other columns."""
    row = np.arange(N)
    plain = {
        "user_id": [f"u{i}" for i in row // 3 % 30],
        "item_id": [f"i{i}" for i in row * 7 % 20],
        "timestamp": 1_767_225_600 + row // 3,
        "click": (row % 5 == 0).astype(int),
    }
    return pl.DataFrame({name: values for name, values in (plain | columns).items() if values is not None})


def drafted(frame: pl.DataFrame, *tables: RawTable | None) -> Schema:
    return parse_schema(yaml.safe_load(draft(table(frame), *tables)), "draft")


def field(frame: pl.DataFrame, name: str) -> Field:
    return drafted(frame).by_name[name]


def test_the_synthetic_log_is_drafted_as_it_was_made() -> None:
    raw = draw(Spec(20_000, users=500, items=200))
    users_table, items_table = texts(all_rows(raw.users)), texts(all_rows(raw.items))
    found = drafted(all_rows(raw.interactions), table(users_table, "users.csv"), table(items_table, "items.csv"))
    made = synthetic_schema()
    assert {(f.name, f.side, f.kind, f.transform) for f in found.fields} == {
        (f.name, f.side, f.kind, f.transform) for f in made.fields
    }
    assert (found.user_key, found.item_key, found.time, found.tasks, found.split) == (
        *(made.user_key, made.item_key, made.time, made.tasks, made.split),
    )
    assert found.by_name["position"].default == "1"


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("with_tables", [True, False])
def test_draft_then_prepare_unedited(tmp_path: Path, suffix: str, with_tables: bool) -> None:
    frames = {"interactions": interactions()} | ({"users": users(), "items": items()} if with_tables else {})
    for stem, frame in frames.items():
        path = tmp_path / f"{stem}.{suffix}"
        frame.write_csv(path) if suffix == "csv" else frame.write_parquet(path)
    files = [argument for stem in frames for argument in (f"--{stem}", f"{tmp_path}/{stem}.{suffix}")]
    assert main(["schema", *files, "--out", f"{tmp_path}/schema.yaml"]) == 0
    assert main(["prepare", "table", "--raw", str(tmp_path), "--out", f"{tmp_path}/out"]) == 0
    prepared = Prepared.open(tmp_path / "out")
    assert [task.name for task in prepared.schema.tasks] == ["ctr", "cvr"]
    assert prepared.description.items == 12
    assert prepared.schema.by_name["device"].side == "context"
    assert len(prepared.matrices("train")) == 320


@pytest.mark.parametrize(
    ("label", "task"),
    [("click", "ctr"), ("is_click", "ctr"), ("Clicked", "ctr"), ("label", "label"), ("buy", "conversion")],
)
def test_labels_by_name(label: str, task: str) -> None:
    frame = log().rename({"click": label})
    assert [(t.name, t.label, t.space) for t in drafted(frame).tasks] == [(task, label, "all")]


def test_conversion_is_of_clicks_where_there_are_clicks() -> None:
    tasks = drafted(log(purchased=(np.arange(N) % 10 == 0).astype(int))).tasks
    assert [(t.name, t.label, t.space) for t in tasks] == [("ctr", "click", "all"), ("cvr", "purchased", "ctr")]


@pytest.mark.parametrize(
    ("renamed", "expected"),
    [
        (
            {"user_id": "userId", "item_id": "productID", "timestamp": "Event Time"},
            ("userId", "productID", "Event Time"),
        ),
        ({"user_id": "customer_id", "item_id": "sku"}, ("customer_id", "sku", "timestamp")),
        ({"user_id": "a", "item_id": "b", "timestamp": "c"}, (None, None, None)),
    ],
)
def test_ids_and_time_by_name(renamed: dict[str, str], expected: tuple[str | None, ...]) -> None:
    found = drafted(log().rename(renamed))
    assert (found.user_key, found.item_key, found.time) == expected


def test_an_id_is_found_by_its_table() -> None:
    frame = log().rename({"user_id": "shopper"})
    known = table(pl.DataFrame({"shopper": [f"u{i}" for i in range(30)], "age": list(range(30))}), "users.csv")
    assert drafted(frame, known).user_key == "shopper"
    with pytest.raises(DataError, match=r"users.csv: shares no user id with the interactions"):
        draft(table(frame), table(pl.DataFrame({"id": ["u1"], "age": [3]}), "users.csv"))


def test_sides_by_what_a_column_depends_on() -> None:
    row = np.arange(N)
    frame = log(
        home=row // 3 % 30 % 4, brand=row * 7 % 20 % 3, weather=row // 3 % 7, discount=row % 9 % 2, rank=row % 3
    )
    assert {f.name: f.side.value for f in drafted(frame).fields} == {
        "user_id": "user",
        "home": "user",
        "item_id": "item",
        "brand": "item",
        "weather": "context",
        "discount": "cross",
        "rank": "cross",
    }


def test_kinds_by_values() -> None:
    row, rng = np.arange(N), np.random.default_rng(0)
    assert field(log(x=rng.normal(size=N)), "x").kind == "numeric"
    assert field(log(x=row % 2), "x").kind == "categorical"
    assert field(log(x=row * 37 % 150), "x").kind == "numeric"
    assert field(log(city_id=row * 37 % 150), "city_id").kind == "categorical"
    assert field(log(x=[f"{i:03}" for i in row % 100]), "x").kind == "categorical"
    tags = [f"a{i % 5};b{i % 3}" if i % 4 else f"a{i % 5}" for i in row]
    assert (field(log(x=tags), "x").separator, field(log(x=tags), "x").max_length) == (";", 2)
    heavy = field(log(x=np.exp(rng.normal(0, 3, N)).round(2)), "x")
    assert (heavy.kind, heavy.transform) == ("numeric", "log1p")
    gaps = field(log(x=[None if i % 3 else i / 10 for i in row]), "x")
    assert gaps.default == pytest.approx(14.85)
    mixed = log(x=["n/a" if i % 9 == 0 else str(i % 40) for i in row])
    assert field(mixed, "x").kind == "categorical"
    assert "mostly numbers, but 'n/a'" in draft(table(mixed))


def test_parquet_lists_are_multi() -> None:
    frame = log(x=[["a", "b"][: i % 3] for i in range(N)])
    found = parse_schema(yaml.safe_load(draft(RawTable.of("f.parquet", frame))), "draft")
    assert (found.by_name["x"].kind, found.by_name["x"].max_length) == ("multi", 2)


CLICKS = (np.arange(N) % 5 == 0).astype(int)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("copy", CLICKS, "tells the label 'click' exactly"),
        ("opposite", 1 - CLICKS, "tells the label 'click' exactly"),
        ("landing", ["page" if c else None for c in CLICKS], "tells the label 'click' exactly"),
        ("other_label", np.arange(N) % 3, "named like something known only afterwards"),
        ("propensity_score", np.arange(N) / N, "the logging policy"),
        ("click_time", np.arange(N), "known only afterwards"),
        ("is_clicked", np.arange(N) % 2, "named like a label"),
        ("same", ["x"] * N, "one value only"),
        ("none", [None] * N, "no values"),
        ("row_id", np.arange(N), "counts or names rows"),
        ("token", [f"t{i}" for i in range(N)], "another value in every row"),
        ("born", [f"19{i % 90 + 10}-01-02" for i in range(N)], "a time"),
        ("review", [f"this is a long review, number {i % 99}, and I liked it a lot" for i in range(N)], "free text"),
    ],
)
def test_what_no_model_may_see_is_left_out(name: str, values: object, why: str) -> None:
    text = draft(table(log(**{name: values})))
    left_out = [line for line in text.splitlines() if line.startswith(f"  # left out: {name}: ")]
    assert len(left_out) == 1
    assert why in left_out[0]
    assert name not in parse_schema(yaml.safe_load(text), "draft").by_name


def test_names_become_field_names_of_their_own() -> None:
    row = np.arange(N)
    frame = log(
        **{
            "Page Type!": row % 4,
            "Page-Type": row % 5 % 4,
            "Page Type?": row % 6 % 4,
            "größe: \n": row % 3,
            "日本": row % 7,
        }
    )
    found = {f.source: f.name for f in drafted(frame).fields}
    assert found["Page Type!"] == "Page_Type"
    assert found["Page Type?"] == "Page_Type_2"
    assert found["日本"] == "field"
    assert len(set(found.values())) == 7


def test_without_a_label_it_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    frame = log(promoted=np.arange(N) % 2).rename({"click": "touched"})
    frame.write_csv(tmp_path / "f.csv")
    assert main(["schema", "--interactions", f"{tmp_path}/f.csv"]) == 0
    printed = capsys.readouterr()
    assert "no column looks like a label" in printed.err
    assert "Columns of 0 and 1: " in printed.out
    assert "touched, promoted" in printed.out
    assert yaml.safe_load(printed.out)["tasks"] == []


def test_a_file_with_edits_is_not_overwritten(tmp_path: Path) -> None:
    log().write_csv(tmp_path / "f.csv")
    out = tmp_path / "schema.yaml"
    out.write_text("mine")
    with pytest.raises(DataError, match="it may hold your edits"):
        main(["schema", "--interactions", f"{tmp_path}/f.csv", "--out", str(out)])
    assert out.read_text() == "mine"


def test_few_moments_split_at_random() -> None:
    assert drafted(log(timestamp=["2026-01-01"] * N)).split.by == "random"
    assert drafted(log()).split.by == "time"


def test_many_distinct_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.datasets.drafting.fields.RARE_ABOVE", 15)
    monkeypatch.setattr("training.datasets.drafting.fields.HASH_ABOVE", 25)
    found = drafted(log())
    assert (found.by_name["user_id"].encoding, found.by_name["user_id"].buckets) == ("hash", 1 << 20)
    assert (found.by_name["item_id"].encoding, found.by_name["item_id"].min_count) == ("dictionary", 2)


def test_a_field_per_table_where_names_coincide() -> None:
    people = pl.DataFrame({"user_id": [f"u{i}" for i in range(30)], "type": [i % 3 for i in range(30)]})
    goods = pl.DataFrame({"item_id": [f"i{i}" for i in range(20)], "type": [i % 4 for i in range(20)]})
    found = drafted(log(), table(people, "users.csv"), table(goods, "items.csv"))
    assert [(f.name, f.source, f.side) for f in found.fields if f.source == "type"] == [
        ("type", "type", "user"),
        ("type_2", "type", "item"),
    ]


START = 1_767_225_600


@pytest.mark.parametrize(
    ("days", "start", "expected"),
    [(1, START, set()), (8, START, {"hour"}), (20, START, {"hour", "weekday"}), (20, 0, set())],
)
def test_a_time_becomes_cycles_that_the_log_spans(days: int, start: int, expected: set[str]) -> None:
    found = drafted(log(timestamp=np.linspace(start, start + days * 86_400, N).astype(int)))
    made = {f.name: f for f in found.fields if f.source == "timestamp"}
    assert set(made) == expected
    assert all((f.encoding, f.side, f.default) == (name, "context", "now") for name, f in made.items())


def test_an_hour_that_is_there_is_not_made_again() -> None:
    times = np.linspace(START, START + 20 * 86_400, N).astype(int)
    found = drafted(log(timestamp=times, Hour=times // 3_600 % 24))
    assert [f.name for f in found.fields if f.source in ("timestamp", "Hour")] == ["Hour", "weekday"]


def test_floats_beside_a_list_are_its_weights() -> None:
    ids = [[f"a{i}", "b"][: i % 3] or None for i in range(N)]
    scores = [None if values is None else [0.5] * len(values) for values in ids]
    frame = log(tags=ids, scores=scores, other=[[1.5] * 4] * N)
    found = parse_schema(yaml.safe_load(draft(RawTable.of("f.parquet", frame))), "draft")
    assert (found.by_name["tags"].kind, found.by_name["tags"].weights) == ("multi", "scores")
    assert "scores" not in found.by_name
    assert found.by_name["tags"].side == "cross"


def test_json_lines_are_drafted_then_prepared(tmp_path: Path) -> None:
    """Lists with weights, a time, an object that nobody can use; from a folder by day."""
    times = np.linspace(START, START + 20 * 86_400, N).astype(int)
    values = [[f"t{i % 5}", f"s{i % 7}"] for i in range(N)]
    frame = log(timestamp=times, tags=values, scores=[[0.5, i / N] for i in range(N)], geo=[{"lat": 1.5}] * N)
    for day in range(2):
        folder = tmp_path / "interactions" / f"day={day}"
        folder.mkdir(parents=True)
        frame[day * N // 2 : (day + 1) * N // 2].write_ndjson(folder / "part.jsonl")
    out = tmp_path / "schema.yaml"
    assert main(["schema", "--interactions", f"{tmp_path}/interactions", "--out", str(out)]) == 0
    assert "# left out: geo: objects" in out.read_text()
    assert main(["prepare", "table", "--raw", str(tmp_path), "--out", f"{tmp_path}/out"]) == 0
    prepared = Prepared.open(tmp_path / "out")
    assert prepared.schema.by_name["tags"].weights == "scores"
    assert {"hour", "weekday"} <= set(prepared.schema.by_name)
    assert sum(prepared.description.rows.values()) == N


def test_a_long_log_is_drafted_from_its_first_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log(late=[None if i < 200 else str(i % 3) for i in range(N)]).write_csv(tmp_path / "f.csv")
    command = ["schema", "--interactions", f"{tmp_path}/f.csv"]
    assert main([*command, "--rows", "100"]) == 0
    assert f"# Of {tmp_path}/f.csv the first 100 rows were seen." in (printed := capsys.readouterr().out)
    assert "left out: late: no values" in printed
    assert "encoding: weekday" in printed
    assert main([*command, "--rows", "1000"]) == 0
    assert "rows were seen" not in (printed := capsys.readouterr().out)
    assert "name: late" in printed
    with pytest.raises(DataError, match="--rows 0: at least one row is needed"):
        main([*command, "--rows", "0"])
