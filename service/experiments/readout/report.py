"""A readout as it is shown, stored and sent: GET /experiments/{key}/readout."""

from typing import Literal

from pydantic import BaseModel, Field


class Interval(BaseModel):
    """Bounds; None where there is too little to say."""

    low: float | None
    high: float | None


class Estimate(BaseModel):
    """A metric of one arm."""

    value: float | None
    always: Interval = Field(description="valid however often it is looked at")
    fixed: Interval = Field(description="valid at one look, planned beforehand")


class Comparison(BaseModel):
    """An arm against the control in one metric."""

    metric: str
    arm: str
    control: str
    difference: float | None
    lift: float | None = Field(description="relative: 0.05 is 5 % more than the control")
    level: float = Field(description="of the peek-safe interval: 1 - alpha / (comparisons of its family)")
    always: Interval = Field(description="of the lift, peek-safe, at `level`; after CUPED where `cuped`")
    fixed: Interval = Field(description="of the lift at one look, at 1 - alpha")
    always_p: float | None = Field(description="peek-safe: valid however often it is looked at; uncorrected")
    p_value: float | None = Field(description="at one look, uncorrected")
    adjusted: float | None = Field(description="p_value after correction for arms and metrics")
    cuped: bool
    variance_reduction: float | None = Field(description="share of the variance that the prior period explained")
    significant: bool = Field(description="the peek-safe interval excludes 0")
    power: float | None = Field(description="to find a lift of `effect` with the users so far, at one look")
    detectable: float | None = Field(description="the smallest lift that has the wanted power now")


class SampleRatio(BaseModel):
    """Whether the arms have the users that their weights say; an alarm withholds the verdict."""

    p_value: float | None
    alarm: bool
    expected: dict[str, float]
    observed: dict[str, int]
    versions: dict[str, float] = Field(description="p by version of the configuration")
    segments: dict[str, float] = Field(description="p by field=value")
    alarms: list[str] = Field(description="a line for each that is off")


class Guardrail(BaseModel):
    """A limit of an arm."""

    name: str
    arm: str
    value: float | None
    limit: str
    breached: bool


class ArmReport(BaseModel):
    """What an arm has seen."""

    name: str
    control: bool
    weight: int
    model: str
    models: dict[str, int]
    users: int
    exposures: int
    clicks: int
    conversions: int
    value: float
    fallbacks: int
    overridden: int
    dropped: int
    crossed: int
    metrics: dict[str, Estimate]


class Point(BaseModel):
    """The primary metric at one time."""

    time: str
    arm: str
    users: int
    lift: float | None
    always: Interval
    fixed: Interval


class Verdict(BaseModel):
    """What to do."""

    decision: Literal["ship", "stop", "wait", "withheld", "no-data"]
    arm: str | None = None
    days: float | None = Field(default=None, description="to wait, about")
    sentence: str


class Readout(BaseModel):
    """An experiment's phase, as of now."""

    key: str
    phase: int
    config_version: int
    as_of: str
    started: str | None
    days: float
    primary: str
    alpha: float
    effect: float
    planned_users: int = Field(description="of an arm and the control: the peek-safe intervals are narrowest here")
    verdict: Verdict
    arms: list[ArmReport]
    comparisons: list[Comparison]
    sample_ratio: SampleRatio
    guardrails: list[Guardrail]
    history: list[Point]
    warnings: list[str]
