"""What the files of Ali-CCP hold: fields, the range of ids that each owns, and the schema that reads them.

An id says its field by itself: the ranges do not overlap. A value is 1.0, or ln(1 + count) in the weighted fields.
"""

from typing import NamedTuple

from contract.schema import Field, Kind, Schema, Side, Split, Task

INDEX, SPLIT = "common_feature_index", "split"
LABELS = ("click", "conversion")
HISTORY, INTENTIONS, CROSSED_INTENTIONS = 20, 10, 5  # values kept; in a row: a few hundred, a few, one or a few


class Member(NamedTuple):
    """A field of the files. `length`: values kept of a row, the highest first; None where it has one at the most."""

    code: str
    name: str
    side: Side
    first: int
    last: int
    length: int | None = None
    weighted: bool = False

    @property
    def weights(self) -> str:
        """Raw column of the values of a weighted field."""
        return f"{self.name}:weights"


USER = (
    Member("101", "user_id", Side.USER, 1, 444_860),
    Member("121", "profile", Side.USER, 3_438_658, 3_438_754),
    Member("122", "profile_group", Side.USER, 3_438_755, 3_438_767),
    Member("124", "gender", Side.USER, 3_438_768, 3_438_769),
    Member("125", "age", Side.USER, 3_438_770, 3_438_776),
    Member("126", "consumption_1", Side.USER, 3_438_777, 3_438_779),
    Member("127", "consumption_2", Side.USER, 3_438_780, 3_438_782),
    Member("128", "occupation", Side.USER, 3_864_885, 3_864_886),
    Member("129", "geography", Side.USER, 3_864_887, 3_864_890),
    Member("109_14", "category_history", Side.USER, 444_862, 457_384, HISTORY, True),
    Member("110_14", "shop_history", Side.USER, 457_385, 3_438_657, HISTORY, True),
    Member("127_14", "brand_history", Side.USER, 3_438_783, 3_864_884, HISTORY, True),
    Member("150_14", "intention_history", Side.USER, 3_864_891, 3_964_446, HISTORY, True),
)
IMPRESSION = (
    Member("205", "item_id", Side.ITEM, 3_964_447, 8_313_061),
    Member("206", "category", Side.ITEM, 8_313_062, 8_322_053),
    Member("207", "shop", Side.ITEM, 8_322_056, 9_017_178),
    Member("216", "brand", Side.ITEM, 9_116_785, 9_351_664),
    Member("210", "intention", Side.ITEM, 9_017_179, 9_116_784, INTENTIONS),
    Member("301", "scenario", Side.CONTEXT, 9_351_665, 9_351_667),
    Member("508", "category_in_history", Side.CROSS, 9_351_668, 9_359_852, 1, True),
    Member("509", "shop_in_history", Side.CROSS, 9_359_854, 9_832_206, 1, True),
    Member("702", "brand_in_history", Side.CROSS, 9_832_207, 10_000_018, 1, True),
    Member("853", "intention_in_history", Side.CROSS, 10_000_020, 10_091_377, CROSSED_INTENTIONS, True),
)


def with_length(members: tuple[Member, ...], history: int) -> tuple[Member, ...]:
    """The same fields with other histories."""
    return tuple(m._replace(length=history) if m.side is Side.USER and m.weighted else m for m in members)


def columns(members: tuple[Member, ...]) -> tuple[str, ...]:
    """Raw columns of these fields."""
    return tuple(name for m in members for name in ((m.name, m.weights) if m.weighted else (m.name,)))


def aliccp_schema(history: int, min_count: int) -> Schema:
    """Click and conversion; the item's own fields come with the impression, so that they are those of its moment."""
    members = (*with_length(USER, history), *IMPRESSION)
    return Schema(
        user_key=INDEX,
        item_key="item_id",
        fields=tuple(_field(member, min_count) for member in members),
        tasks=(Task(name="ctr", label="click"), Task(name="cvr", label="conversion", space="ctr")),
        split=Split(by="column", column=SPLIT),
    )


def _field(member: Member, min_count: int) -> Field:
    if member.length is None:
        return Field(name=member.name, side=member.side, min_count=min_count)
    return Field(
        name=member.name,
        side=member.side,
        kind=Kind.MULTI,
        max_length=member.length,
        weights=member.weights if member.weighted else None,
        min_count=min_count,
    )
