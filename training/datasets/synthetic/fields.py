"""Fields, tasks and split of a synthetic log."""

from contract.schema import Field, Kind, Schema, Side, Split, Task
from training.datasets.synthetic.population import CATALOGUE, FLAT_CATALOGUE, FLAT_PROFILE, LONGEST, PROFILE, WANTED
from training.datasets.synthetic.spec import Shape


def synthetic_schema(shape: Shape = "aliccp") -> Schema:
    """The schema that reads the raw tables of a shape."""
    return Schema(
        user_key="user_id",
        item_key="item_id",
        time="timestamp",
        fields=_flat() if shape == "flat" else _aliccp(),
        tasks=(Task(name="ctr", label="click"), Task(name="cvr", label="conversion", space="ctr")),
        split=Split(by="time"),
    )


def _flat() -> tuple[Field, ...]:
    named = ((Side.USER, ("user_id", *FLAT_PROFILE)), (Side.ITEM, ("item_id", *FLAT_CATALOGUE)))
    stored = (Field(name=name, side=side) for side, names in named for name in names)
    return (*stored, Field(name="hour", side=Side.CONTEXT), Field(name="position", side=Side.CROSS, default="1"))


def _aliccp() -> tuple[Field, ...]:
    user = [Field(name=name, side=Side.USER) for name in ("user_id", *PROFILE)]
    histories = ("history_category", "history_shop")
    user += [Field(name=name, side=Side.USER, kind=Kind.MULTI, max_length=LONGEST) for name in histories]
    user.append(Field(name="activity", side=Side.USER, kind=Kind.NUMERIC, transform="log1p"))
    item = [Field(name=name, side=Side.ITEM) for name in ("item_id", *CATALOGUE)]
    item.append(Field(name="intention", side=Side.ITEM, kind=Kind.MULTI, max_length=WANTED))
    item.append(Field(name="price", side=Side.ITEM, kind=Kind.NUMERIC, transform="log1p"))
    context = [Field(name=name, side=Side.CONTEXT) for name in ("scene", "hour")]
    cross = [Field(name=f"{name}_in_history", side=Side.CROSS) for name in ("category", "shop")]
    return (*user, *item, *context, *cross, Field(name="position", side=Side.CROSS, default="1"))
