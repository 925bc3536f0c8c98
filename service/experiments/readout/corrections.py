"""Several comparisons at once: which belong together, and what each is held to.

The primary metric of all arms is one family, the other metrics of all arms another: what decides does not pay for what
is only looked at. In each family the p-values at one look are corrected by Holm, and the peek-safe intervals share
alpha evenly (Bonferroni), so that all intervals of a family hold together at all times.
"""

from collections.abc import Mapping, Sequence

from tea_tasting.experiment import ExperimentResult
from tea_tasting.multiplicity import adjust_fwer

from service.experiments.config import Metric
from service.experiments.readout.ratios import METRICS

Key = tuple[str, str]  # metric, arm


def family(metric: str, primary: Metric, arms: Sequence[str]) -> list[Key]:
    """The comparisons that are corrected together with this metric's; `arms` without the control."""
    names = [primary] if metric == primary else [name for name in METRICS if name != primary]
    return [(name, arm) for name in names for arm in arms]


def holm(p_values: Mapping[Key, float], alpha: float) -> dict[Key, float]:
    """Adjusted p-values of one family."""
    if not p_values:
        return {}
    results = {key: ExperimentResult({"it": {"pvalue": p_value}}) for key, p_value in p_values.items()}
    adjusted = adjust_fwer(results, alpha=alpha, arbitrary_dependence=True, method="bonferroni")
    return {key: float(each["it"]["pvalue_adj"]) for key, each in adjusted.items()}
