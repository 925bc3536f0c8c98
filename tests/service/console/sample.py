"""A readout as `outcomes` stores it: an experiment that grows for ten days, whose arm `dtn` is better by 4 %."""

from datetime import UTC, datetime, timedelta
from math import sin, sqrt

import numpy as np

from service.experiments.arms import comparison as shadowing
from service.experiments.arms.breaker import State
from service.experiments.arms.health import LATENCY, ArmCounts, Published
from service.experiments.readout.report import (
    ArmReport,
    Comparison,
    Estimate,
    Guardrail,
    Interval,
    Point,
    Readout,
    SampleRatio,
    Verdict,
)

LOOKS = 40
LIFT = 0.04
SENTENCE = "Ship dtn: its CTR is 4.0 % above ple's, and the peek-safe interval excludes 0."


def readout(key: str = "dtn-vs-ple", *, alarm: bool = False, as_of: datetime | None = None) -> Readout:
    """The readout of now; with `alarm` the sample ratio is off and the verdict withheld."""
    now = as_of or datetime.now(UTC)
    users = {"ple": 50_214, "dtn": 49_871}
    verdict = Verdict(decision="ship", arm="dtn", sentence=SENTENCE)
    withheld = Verdict(decision="withheld", sentence="No verdict: the arms do not have the users that they should.")
    return Readout(
        key=key,
        phase=1,
        config_version=7,
        as_of=now.isoformat(),
        started=(now - timedelta(days=10)).isoformat(),
        days=10.0,
        primary="ctr",
        alpha=0.05,
        effect=0.02,
        planned_users=60_000,
        verdict=withheld if alarm else verdict,
        arms=[_arm(name, users[name], 1.0 if name == "ple" else 1 + LIFT) for name in users],
        comparisons=[_comparison(metric, size, width) for metric, size, width in _METRICS],
        sample_ratio=SampleRatio(
            p_value=0.00002 if alarm else 0.28,
            alarm=alarm,
            expected={"ple": 50_042.5, "dtn": 50_042.5},
            observed=users,
            versions={"7": 0.31},
            segments={"scene=home": 0.62, "scene=search": 0.0004 if alarm else 0.08},
            alarms=["scene=search: p = 0.0004"] if alarm else [],
        ),
        guardrails=[
            Guardrail(name="p99", arm="dtn", value=18.4, limit="at most 50 ms", breached=False),
            Guardrail(name="error rate", arm="dtn", value=0.021, limit="at most 0.01", breached=True),
        ],
        history=[_point(i, now) for i in range(1, LOOKS + 1)],
        warnings=["12 exposures were dropped in arm 'dtn'."],
    )


_METRICS = (("ctr", LIFT, 0.022), ("cvr", -0.012, 0.06), ("ctcvr", 0.027, 0.064), ("value", 0.018, 0.11))


def _interval(middle: float, half: float) -> Interval:
    return Interval(low=middle - half, high=middle + half)


def _estimate(value: float, half: float) -> Estimate:
    return Estimate(value=value, always=_interval(value, half), fixed=_interval(value, half / 2))


def _arm(name: str, users: int, factor: float) -> ArmReport:
    return ArmReport(
        name=name, control=name == "ple", weight=5000, model=name, models={f"{name}@1": users * 9}, users=users,
        exposures=users * 9, clicks=users // 3, conversions=users // 40, value=users * 0.8, fallbacks=31, overridden=4,
        dropped=12 if name == "dtn" else 0, crossed=3,
        metrics={
            "ctr": _estimate(0.0371 * factor, 0.0006), "cvr": _estimate(0.0712, 0.0041),
            "ctcvr": _estimate(0.00264 * factor, 0.00016), "value": _estimate(0.8123 * factor, 0.061),
        },
    )  # fmt: skip


def _comparison(metric: str, lift: float, half: float) -> Comparison:
    return Comparison(
        metric=metric, arm="dtn", control="ple", difference=lift / 30, lift=lift, level=0.95,
        always=_interval(lift, half), fixed=_interval(lift, half / 1.8), always_p=0.003, p_value=0.0004,
        adjusted=0.0012 if metric == "ctr" else 0.41, cuped=metric != "value",
        variance_reduction=0.23 if metric != "value" else None, significant=abs(lift) > half, power=0.91,
        detectable=0.017,
    )  # fmt: skip


def _point(look: int, now: datetime) -> Point:
    share = look / LOOKS
    half, wobble = 0.022 / sqrt(share), 0.03 * (1 - share) * sin(look * 0.9)
    lift = LIFT + wobble - 0.02 * (1 - share)
    time = now - timedelta(days=10 * (1 - share))
    return Point(
        time=time.isoformat(), arm="dtn", users=int(100_000 * share), lift=lift, always=_interval(lift, half),
        fixed=_interval(lift, half / 1.8),
    )  # fmt: skip


def health(now: float) -> Published:
    """What one process tells of its arms and of a shadow; `dtn` is in trouble."""
    scores = {"ctr": np.linspace(0.02, 0.05, 50, dtype=np.float32)}
    comparison = shadowing.Comparison("dtn-vs-ple", "ple", "mmoe@3")
    for _ in range(20):
        comparison.add(scores, {"ctr": scores["ctr"] * np.float32(1.1)}, 0.004, 0.006)
    return {
        "time": now, "shadows": [comparison.counts()],
        "arms": [_counts("ple", "closed", 4210, 0), _counts("dtn", "open", 4188, 97)],
    }  # fmt: skip


def _counts(arm: str, breaker: State, requests: int, failures: int) -> ArmCounts:
    return {
        "key": "dtn-vs-ple", "phase": 1, "arm": arm, "breaker": breaker, "requests": requests, "failures": failures,
        "slow": failures // 4, "refused": 0, "fallbacks": failures, "latency": {str(LATENCY.of(0.007)): requests},
        "predicted": 3.7, "sampled": 100,
    }  # fmt: skip
