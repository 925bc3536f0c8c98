"""Which model a user meets: layers, experiments, arms; one schema for the file, the Redis key and PUT /experiments."""

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AwareDatetime, BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from contract.schema import Name, Strict
from service.experiments.document import Place

SLOTS = 10_000
ModelReference = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*(@[A-Za-z0-9_][A-Za-z0-9_.\-]*)?$")]
Hash = Literal["murmur3", "growthbook_v2", "eppo_md5", "unleash"]
Metric = Literal["ctr", "cvr", "ctcvr", "value"]
Scalar = StrictBool | StrictInt | StrictFloat | StrictStr
Slots = tuple[tuple[StrictInt, StrictInt], ...]  # half-open ranges of the 10,000


def _no_number(value: object) -> object:
    if isinstance(value, int | float):  # pydantic would take it for seconds since 1970
        raise ValueError("a time with its zone is wanted, such as 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_no_number)]


class Part(Strict):
    """A part of the configuration; its numbers are finite."""

    model_config = ConfigDict(allow_inf_nan=False)


class Shadow(Part):
    """A model that scores a share of an arm's requests too, for comparison alone."""

    model: ModelReference
    share: StrictInt = Field(ge=1, le=SLOTS)  # of 10,000 requests


class Arm(Part):
    """One of the alternatives: what it serves, and to how many of 10,000 enrolled users."""

    name: Name
    weight: StrictInt = Field(ge=0, le=SLOTS)  # of 10,000; under `unleash` of the sum of the weights
    model: ModelReference | None = None  # None: the default model
    ranking: dict[Name, StrictFloat] = Field(default={})  # task: exponent; `rank` is the product of task ** exponent
    parameters: dict[Name, Scalar] = Field(default={})  # handed to the caller as they are
    shadow: Shadow | None = None


class Guardrails(Part):
    """Limits of an arm; one that is breached kills the experiment."""

    error_rate: StrictFloat | None = Field(
        default=None, gt=0, lt=1
    )  # share of the arm's requests that its model failed
    p99_ms: StrictFloat | None = Field(default=None, gt=0)
    calibration: tuple[StrictFloat, StrictFloat] | None = (
        None  # of the arm's predicted / observed clicks over the control's
    )
    minutes: StrictFloat = Field(default=5, gt=0)  # that are looked at
    min_requests: StrictInt = Field(default=200, ge=1)  # in them, before anything is judged


class Measure(Part):
    """What decides the experiment, and how its events are counted."""

    primary: Metric = "ctr"
    alpha: StrictFloat = Field(default=0.05, gt=0, lt=1)
    power: StrictFloat = Field(default=0.8, gt=0, lt=1)
    effect: StrictFloat = Field(default=0.02, gt=0)  # the smallest relative lift worth finding
    planned_users: StrictInt | None = Field(default=None, ge=1)  # of an arm and the control together: where peek-safe
    # intervals are narrowest; fixed beforehand. None: what `effect` takes where the spread of users equals their mean
    click_hours: StrictFloat = Field(default=24, gt=0)  # from an exposure to a click of it
    conversion_hours: StrictFloat = Field(default=168, gt=0)  # from an exposure to a conversion, or value, of it
    prior_days: StrictInt = Field(default=14, ge=0, le=90)  # whole days before a user's first one, for CUPED
    value_cap: StrictFloat | None = Field(default=None, gt=0)  # value of one user counts at most so much


class Thompson(Part):
    """Weights that follow the primary metric in batches; each batch is a phase."""

    hours: StrictFloat = Field(default=24, gt=0)  # a batch
    floor: StrictInt = Field(default=1000, ge=1, le=SLOTS // 2)  # weight of an arm, at least


class Experiment(Part):
    """Slots of its layer, divided among arms by a salt of its own."""

    key: Name
    phase: StrictInt = Field(default=1, ge=1)
    salt: Name | None = None  # None: key.phase
    hash: Hash = "murmur3"
    coverage: StrictInt = Field(default=SLOTS, ge=0, le=SLOTS)  # of growthbook_v2, which enrols by the arm's draw
    slots: Slots = Field(min_length=1)
    arms: tuple[Arm, ...] = Field(min_length=1)
    control: Name | None = None  # None: the first arm
    overrides: dict[str, str] = Field(default={})  # user id: arm
    when: StrictStr | None = None  # condition on the request's context; see targeting.py
    start: Moment | None = None
    end: Moment | None = None
    killed: StrictBool = False
    segments: tuple[Name, ...] = Field(default=(), max_length=4)  # context fields that the readout is cut by
    slow_ms: StrictFloat | None = Field(
        default=None, gt=0
    )  # an arm's model that takes longer is answered by the control's
    guardrails: Guardrails | None = None
    measure: Measure = Measure()
    thompson: Thompson | None = None

    @property
    def draw_salt(self) -> str:
        """The salt of the arm's draw."""
        return self.salt or f"{self.key}.{self.phase}"

    @property
    def control_arm(self) -> Arm:
        """The arm that others are compared with, and that stands in for one that fails."""
        return next(arm for arm in self.arms if self.control in (None, arm.name))


class Layer(Part):
    """Experiments that exclude each other: a user's slot is in one of them at most."""

    name: Name
    salt: Name
    hash: Hash = "murmur3"
    experiments: tuple[Experiment, ...] = ()


class Holdout(Part):
    """Users whom no experiment of any layer reaches."""

    salt: Name
    slots: Slots = Field(min_length=1)


class Experiments(Part):
    """The whole configuration."""

    version: StrictInt = Field(ge=1, lt=2**53)  # what browsers read exactly
    default_model: ModelReference
    killed: StrictBool = False  # everybody meets the default model
    holdout: Holdout | None = None
    layers: tuple[Layer, ...] = ()

    def placed(self) -> Iterator[tuple[Place, Experiment]]:
        """Every experiment and its place."""
        for i, layer in enumerate(self.layers):
            for j, experiment in enumerate(layer.experiments):
                yield ("layers", i, "experiments", j), experiment

    def experiment(self, key: str) -> Experiment | None:
        """The experiment of this key."""
        return next((experiment for _, experiment in self.placed() if experiment.key == key), None)

    def models(self) -> dict[str, Place]:
        """Every model reference, and the place that names it first."""
        places: dict[str, Place] = {self.default_model: ("default_model",)}
        for place, experiment in self.placed():
            for i, arm in enumerate(experiment.arms):
                if arm.model:
                    places.setdefault(arm.model, (*place, "arms", i, "model"))
                if arm.shadow:
                    places.setdefault(arm.shadow.model, (*place, "arms", i, "shadow", "model"))
        return places
