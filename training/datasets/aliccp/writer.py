"""Raw columns → the four files of Ali-CCP: the reader's other direction.

Frames hold what the reader gives: `common_feature_index`, labels, ids in the range of their field, and lists of ids
with lists of their values. Columns that are absent, and nulls, are features that a row does not have.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import polars as pl

from contract.files import whole_file
from training.datasets.aliccp.files import COMMON, PARTS, SKELETON, Part
from training.datasets.aliccp.layout import IMPRESSION, INDEX, LABELS, USER, Member

ROW = "row"


def write_aliccp(
    folder: Path,
    impressions: Iterable[tuple[Part, pl.DataFrame]],
    users: Callable[[Part], Iterable[pl.DataFrame]],
) -> None:
    """Write both skeletons as the impressions come, then the common rows that `users` gives for each part."""
    with ExitStack() as stack:
        files = {part: stack.enter_context(_opened(stack, folder, SKELETON, part)) for part in PARTS}
        written = dict.fromkeys(PARTS, 0)
        for part, frame in impressions:
            numbers = pl.int_range(written[part] + 1, written[part] + len(frame) + 1, eager=True).cast(pl.String)
            cells = [numbers, *(frame[name].cast(pl.String) for name in (*LABELS, INDEX))]
            _write(files[part], frame, cells, IMPRESSION)
            written[part] += len(frame)
    for part in PARTS:
        with ExitStack() as stack, _opened(stack, folder, COMMON, part) as file:
            for frame in users(part):
                _write(file, frame, [frame[INDEX]], USER)


def _opened(stack: ExitStack, folder: Path, stem: str, part: Part) -> BinaryIO:
    return stack.enter_context(whole_file(folder / f"{stem}_{part}.csv")).open("wb")


def _write(file: BinaryIO, frame: pl.DataFrame, cells: Sequence[pl.Series], members: Sequence[Member]) -> None:
    """Write lines: the cells, the number of features, and the features."""
    known = [member for member in members if member.name in frame.columns]
    counts = pl.sum_horizontal(_count(member) for member in known).cast(pl.String)
    texts = pl.DataFrame([_features(frame, member) for member in known])
    joined = texts.select(pl.concat_str(pl.all(), separator="\x01", ignore_nulls=True)).to_series().fill_null("")
    columns = [*cells, frame.select(counts).to_series(), joined]
    lines = pl.DataFrame([column.alias(str(place)) for place, column in enumerate(columns)])
    lines.write_csv(file, include_header=False, quote_style="never")


def _count(member: Member) -> pl.Expr:
    column = pl.col(member.name)
    return column.is_not_null().cast(pl.Int64) if member.length is None else column.list.len().fill_null(0)


def _features(frame: pl.DataFrame, member: Member) -> pl.Series:
    """The features of one field, [rows]; null where a row has none."""
    if member.length is None:
        return frame.select(_feature(member, pl.lit("1.0"))).to_series()
    names = [member.name, member.weights] if member.weighted else [member.name]
    flat = frame.select(names).with_row_index(ROW).filter(pl.col(member.name).list.len() > 0).explode(names)
    value = pl.col(member.weights).cast(pl.String) if member.weighted else pl.lit("1.0")
    texts = flat.select(ROW, _feature(member, value)).group_by(ROW, maintain_order=True).agg(pl.all().str.join("\x01"))
    rows = pl.DataFrame({ROW: pl.int_range(len(frame), dtype=pl.get_index_type(), eager=True)})
    return rows.join(texts, on=ROW, how="left", maintain_order="left")[member.name]


def _feature(member: Member, value: pl.Expr) -> pl.Expr:
    """Field, id and value as one text; null where the id is."""
    parts = (pl.lit(f"{member.code}\x02"), pl.col(member.name).cast(pl.String), pl.lit("\x03"), value)
    return pl.concat_str(*parts).alias(member.name)
