"""Options of `prepare aliccp`."""

import argparse
from pathlib import Path

import pytest

from contract.schema import Kind, Side
from tests.training.datasets.aliccp.files import frame, write
from training.datasets.aliccp.command import add_parser, read


def parse(*options: str) -> argparse.Namespace:
    """Options as on the command line."""
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["aliccp", *options])


def test_defaults_are_those_of_the_papers(tmp_path: Path) -> None:
    raw = read(parse("--raw", str(write(tmp_path))))
    assert {field.min_count for field in raw.schema.fields} == {10}
    assert raw.schema.split.by == "column"
    assert len(raw.schema.fields) == 23
    assert {name: len(raw.schema.on(side)) for name, side in Side.__members__.items()} == {
        "USER": 13,
        "ITEM": 5,
        "CONTEXT": 1,
        "CROSS": 4,
    }


def test_options_reach_schema_and_rows(tmp_path: Path) -> None:
    options = ("--min-count", "3", "--max-length", "2", "--validation", "0.999999")
    raw = read(parse("--raw", str(write(tmp_path)), *options))
    lengths = {field.name: field.max_length for field in raw.schema.fields if field.kind is Kind.MULTI}
    assert {name: length for name, length in lengths.items() if name.endswith("_history")} == {
        "category_history": 2,
        "shop_history": 2,
        "brand_history": 2,
        "intention_history": 2,
        "category_in_history": 1,
        "shop_in_history": 1,
        "brand_in_history": 1,
        "intention_in_history": 5,
    }
    assert {field.min_count for field in raw.schema.fields} == {3}
    assert frame(raw.users)["category_history"].to_list()[0] == [444_862, 444_863]
    assert set(frame(raw.interactions)["split"]) == {"validation", "test"}


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (("--validation", "1"), "1.0 is not between 0 and 1"),
        (("--min-count", "0"), "0 is not a positive number"),
        (("--max-length", "2000"), "2000 is more than 1024"),
    ],
)
def test_options_out_of_range_are_named(option: tuple[str, str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse("--raw", ".", *option)
    assert told in capsys.readouterr().err
