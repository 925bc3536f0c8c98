"""The third of click, conversion and click-and-conversion, from the two that a model gives. Exact in float32."""

import numpy as np
from numpy.typing import NDArray

from service.scoring.engine import Scores

CTR, CVR, CTCVR = "ctr", "cvr", "ctcvr"


def compose(scores: Scores) -> Scores:
    """Scores with the third of the three added where two are there; other tasks pass through."""
    given = {CTR, CVR, CTCVR} & scores.keys()
    if given == {CTR, CVR}:
        return {**scores, CTCVR: scores[CTR] * scores[CVR]}
    if given == {CTR, CTCVR}:
        return {**scores, CVR: _ratio(scores[CTCVR], scores[CTR])}
    if given == {CVR, CTCVR}:
        return {**scores, CTR: _ratio(scores[CTCVR], scores[CVR])}
    return scores


def _ratio(joint: NDArray[np.float32], condition: NDArray[np.float32]) -> NDArray[np.float32]:
    """P(b | a) of P(a and b) and P(a): 0 where P(a) is 0, at most 1."""
    possible = condition > 0
    ratio = np.divide(joint, condition, out=np.zeros_like(joint), where=possible)
    return np.minimum(ratio, np.float32(1))
