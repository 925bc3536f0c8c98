"""Request and reply of /score. Requests are parsed once, from the raw bytes; replies are columns."""

from typing import Annotated, Any, NotRequired, Self

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, StrictInt, StrictStr, model_validator
from pydantic.config import JsonDict
from pydantic_core import CoreSchema, core_schema
from typing_extensions import TypedDict

from service.experiments.assignment import Reason
from service.experiments.config import Scalar

REQUEST_EXAMPLE: JsonDict = {"user": {"id": "u42"}, "item_ids": ["i1", "i2", "i3"], "context": {"scene": "home"}}
REPLY_EXAMPLE: JsonDict = {
    "request_id": "7d0c6f0a9f6b4a40b1a3a6f3d9f0c1e2",
    "item_ids": ["i1", "i2", "i3"],
    "scores": {"ctr": [0.031, 0.027, 0.012], "cvr": [0.11, 0.08, 0.05], "ctcvr": [0.00341, 0.00216, 0.0006]},
    "model": {"name": "dtn", "version": "20261122T120000-1a2b3c4d"},
    "experiment": {
        "key": "dtn-vs-ple",
        "arm": "dtn",
        "served": "dtn",
        "phase": 1,
        "slot": 6498,
        "reason": "assigned",
        "config_version": 1,
    },
    "parameters": {},
    "others": [],
    "degraded": [],
}


class _OneMessage:
    """One error message for a union, instead of one an alternative."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.custom_error_schema(
            handler(source), custom_error_type="id_type", custom_error_message=self._message
        )


ID_MESSAGE = "an id is a non-empty string or a 64-bit integer"
Id = Annotated[
    Annotated[StrictStr, Field(min_length=1)] | Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)],
    Field(union_mode="left_to_right"),  # half the time of pydantic's search for the best fit
    _OneMessage(ID_MESSAGE),
]
Features = dict[str, Any]


class Candidate(TypedDict):
    """One candidate; a plain dict, since objects of pydantic cost more than all else in a request."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    id: Id
    features: NotRequired[Features]


class User(BaseModel):
    """Who is asking."""

    model_config = ConfigDict(extra="forbid")

    id: Id | None = Field(default=None, description="42 and '42' are one user; none: the default model")
    features: Features = Field(default={}, description="user-side fields; override the stored ones")


class Envelope(BaseModel):
    """A request without its candidates."""

    model_config = ConfigDict(extra="forbid")

    user: User = User()
    context: Features = Field(default={}, description="context-side fields")
    request_id: StrictStr | None = Field(
        default=None, pattern=r"^[\x21-\x7e]{1,128}$", description="echoed; made if absent"
    )
    arm: StrictStr | None = Field(
        default=None,
        description="a forced arm, ARM or EXPERIMENT/ARM, where the service allows it; as the header X-Arm",
    )


class ScoreRequest(Envelope):
    """Candidates to score for a user: `items` or `item_ids`, exactly one of the two.

    Features are raw values: a text or number; a list, for several; {value: weight} or [[value, weight], …] for weighted
    ones; a time as ISO 8601, epoch number or "now". null takes the field's default.
    """

    model_config = ConfigDict(json_schema_extra={"example": REQUEST_EXAMPLE})

    items: list[Candidate] | None = Field(default=None, min_length=1, fail_fast=True)
    item_ids: list[Id] | None = Field(default=None, min_length=1, fail_fast=True)

    @model_validator(mode="after")
    def _one_list(self) -> Self:
        if (self.items is None) == (self.item_ids is None):
            raise ValueError("send 'items' or 'item_ids', exactly one of the two")
        return self

    def candidates(self) -> list[str | int]:
        """Ids of the candidates as they were sent."""
        return self.item_ids or [item["id"] for item in self.items or []]


class ModelName(BaseModel):
    """Which model gave the scores."""

    name: str
    version: str


class Experiment(BaseModel):
    """Which arm the request met, and why; key and arm are null outside every experiment."""

    key: str | None
    arm: str | None
    served: str | None = Field(
        description="the arm whose model scored: the control, where the arm's failed or was slow"
    )
    phase: int | None
    slot: int | None = Field(description="the draw of the experiment's layer; null where none was made")
    reason: Reason
    config_version: int


class ScoreReply(BaseModel):
    """Scores as columns, in the order of `item_ids`."""

    model_config = ConfigDict(json_schema_extra={"example": REPLY_EXAMPLE})

    request_id: str
    item_ids: list[str | int] = Field(description="as they were sent")
    scores: dict[str, list[float | None]] = Field(
        description="by task: a probability, or the value of a continuous task; null where it is not finite. `rank` is "
        "the product of the formula of the arm, where it has one"
    )
    model: ModelName
    experiment: Experiment
    parameters: dict[str, Scalar] = Field(description="of the arms that the request met")
    others: list[Experiment] = Field(description="the same of further layers, whose arms choose no model")
    degraded: list[str] = Field(description="why the scores are worse than they could be; empty when all is well")
