"""The writer: exactly the lines that the reader is tested on, and a synthetic log that comes back as it was drawn."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.errors import ConfigError
from tests.training.datasets.aliccp.files import ALICE, BOB, chunks, common, features, frame, read
from training.datasets.aliccp.drawn import write_synthetic
from training.datasets.aliccp.files import Part
from training.datasets.aliccp.source import AGAIN
from training.datasets.aliccp.writer import write_aliccp
from training.datasets.synthetic.spec import Spec
from training.datasets.synthetic.tables import draw

IMPRESSIONS = pl.DataFrame(
    {
        "common_feature_index": [ALICE, BOB],
        "click": [1, 0],
        "conversion": [0, 0],
        "item_id": [3_964_447, None],
        "intention": [[9_017_179, 9_017_180], None],
        "intention_in_history": [None, [10_000_021, 10_000_020]],
        "intention_in_history:weights": pl.Series([None, [1.5, 0.69315]], dtype=pl.List(pl.Float32)),
    }
)
USERS = pl.DataFrame({"common_feature_index": [ALICE, BOB], "user_id": [31, None]})
SPEC = Spec(rows=3_000, users=200, items=60, seed=5, conversion_rate=0.3)


def test_lines_are_those_of_the_format(tmp_path: Path) -> None:
    def users(part: Part) -> list[pl.DataFrame]:
        return [USERS] if part == "train" else [USERS[:1], USERS[1:]]

    write_aliccp(tmp_path, [("train", IMPRESSIONS), ("test", IMPRESSIONS[:1]), ("train", IMPRESSIONS[:1])], users)
    first = f"1,0,{ALICE},3,{features('205:3964447 210:9017179 210:9017180')}\n"
    second = f"0,0,{BOB},2,{features('853:10000021=1.5 853:10000020=0.69315')}\n"
    assert (tmp_path / "sample_skeleton_train.csv").read_text() == f"1,{first}2,{second}3,{first}"
    assert (tmp_path / "sample_skeleton_test.csv").read_text() == f"1,{first}"
    expected = common(ALICE, "101:31") + common(BOB, "")
    assert (tmp_path / "common_features_train.csv").read_text() == expected
    assert (tmp_path / "common_features_test.csv").read_text() == expected
    assert len(list(tmp_path.iterdir())) == 4


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    broken: list[tuple[Part, pl.DataFrame]] = [("train", IMPRESSIONS), ("train", IMPRESSIONS.drop("click"))]
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        write_aliccp(tmp_path, broken, lambda _: [USERS])
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("synthetic")
    write_synthetic(SPEC, folder)
    return folder


def codes(column: str, prefix: str) -> pl.Expr:
    """Names of the synthetic log as numbers."""
    return pl.col(column).str.strip_prefix(prefix).cast(pl.Int64)


def test_a_synthetic_log_comes_back_row_by_row(written: Path) -> None:
    drawn, back = frame(draw(SPEC).interactions), frame(read(written).interactions)
    goods = frame(draw(SPEC).items)
    assert len(back) == SPEC.rows
    assert back["click"].equals(drawn["click"])
    assert back["conversion"].equals(drawn["conversion"])
    assert back["conversion"].sum() > 10
    assert back["common_feature_index"].cast(pl.Int64).equals(drawn.select(codes("user_id", "u")).to_series())
    assert (back["item_id"] - 3_964_447).to_list() == drawn.select(codes("item_id", "i")).to_series().to_list()
    joined = drawn.join(goods, on="item_id", how="left", maintain_order="left")
    for name, prefix, first in (("category", "c", 8_313_062), ("shop", "shop", 8_322_056), ("brand", "b", 9_116_785)):
        assert (back[name] - first).to_list() == joined.select(codes(name, prefix)).to_series().to_list()
    assert (back["scenario"] - 9_351_665).to_list() == drawn.select(codes("scene", "s")).to_series().to_list()
    wanted = joined["intention"].list.eval(pl.element().str.strip_prefix("n").cast(pl.Int64) + 9_017_179)
    assert back["intention"].list.eval(pl.element().cast(pl.Int64)).to_list() == wanted.to_list()
    for name, prefix, first in (("category", "c", 9_351_668), ("shop", "shop", 9_359_854)):
        met = drawn.select(codes(f"{name}_in_history", prefix) + first).to_series()
        assert back[f"{name}_in_history"].list.first().cast(pl.Int64).to_list() == met.to_list()


def test_the_later_half_tests_and_its_users_have_their_own_common_rows(written: Path) -> None:
    raw = read(written)
    back = frame(raw.interactions)
    assert (back["split"] == "test").sum() == SPEC.rows // 2
    users = frame(raw.users)
    assert set(users["common_feature_index"]) == set(back["common_feature_index"])
    assert users["common_feature_index"].is_unique().all()
    for part in ("train", "test"):
        lines = (written / f"common_features_{part}.csv").read_text().splitlines()
        met = back.filter((pl.col("split") == "test") == (part == "test"))["common_feature_index"]
        assert {line.split(",")[0] for line in lines} == set(met)


def test_histories_are_counted(written: Path) -> None:
    drawn, back = frame(draw(SPEC).users), frame(read(written).users)
    joined = back.join(drawn.with_columns(index=codes("user_id", "u")), left_on=pl.col("user_id") - 1, right_on="index")
    assert len(joined) == len(back)
    assert (joined["profile"] - 3_438_658).to_list() == joined["segment"].cast(pl.Int64).to_list()
    for name, prefix, first in (("category", "c", 444_862), ("shop", "shop", 457_385)):
        columns = (f"{name}_history", f"{name}_history:weights", f"history_{name}")
        for ids, weights, met in joined.select(columns).rows():
            counted = dict(zip(ids or [], np.expm1(weights or []).round(), strict=True))
            codes_met = [first + int(entry.removeprefix(prefix)) for entry in met or []]
            assert counted == {code: codes_met.count(code) for code in codes_met}
            assert weights is None or weights == sorted(weights, reverse=True)


def test_no_id_is_out_of_range_and_rates_are_near_the_real_ones(tmp_path: Path) -> None:
    write_synthetic(Spec(rows=20_000), tmp_path)
    raw = read(tmp_path)
    back = frame(raw.interactions)
    assert not back.null_count()["item_id"][0]
    assert back["brand"].null_count() / len(back) == pytest.approx(0.27, abs=0.08)
    assert back["brand_in_history"].null_count() / len(back) == pytest.approx(0.74, abs=0.03)
    told = [note for table in (raw.interactions, raw.users) for chunk in chunks(table) for note in chunk.notes]
    assert set(told) == {AGAIN}


def test_what_the_format_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"444,861 ids of field 101 \(user_id\); Ali-CCP's format has room for 444,860"
    ):
        write_synthetic(Spec(users=444_861), tmp_path)
    with pytest.raises(ConfigError, match="--shape flat has not the fields of Ali-CCP"):
        write_synthetic(Spec(shape="flat"), tmp_path)
