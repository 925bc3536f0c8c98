"""The main job on real input: Open Bandit's real slates, prepared, trained, served, scored through the split."""

import os
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from contract.schema import Side
from tests.end_to_end.conftest import ROOT, whole_way
from tests.end_to_end.reference import Reference
from training.datasets.open_bandit import Slate, slates

RAW = Path(os.environ.get("TWINSCORE_DATA", ROOT.parent / "shared" / "data")) / "open-bandit"
SLATES = 400
EVERY = 97  # spread over both policies and campaigns

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not RAW.is_dir(), reason="the Open Bandit Dataset is not in TWINSCORE_DATA"),
]


def request_of(slate: Slate) -> dict[str, object]:
    items = [{"id": candidate.id, "features": candidate.features} for candidate in slate.candidates]
    return {"user": {"id": slate.user_id, "features": slate.user}, "context": slate.context, "items": items}


def test_real_slates_are_scored_as_pytorch_scores_them(tmp_path: Path) -> None:
    chosen = list(islice(islice(slates(RAW), 0, None, EVERY), SLATES))
    assert len(chosen) == SLATES
    arms: Counter[str] = Counter()
    arm_of_user: dict[str, str] = {}
    with whole_way(tmp_path, ("open_bandit", "--raw", str(RAW))) as stack:
        references = {arm: Reference(tmp_path / "data", tmp_path / "runs" / arm) for arm in ("dtn", "ple")}
        assert len(references["dtn"].keys(Side.ITEM)) == 80
        for slate in chosen:
            status, reply = stack.post(request_of(slate))
            assert status == 200, reply
            assert reply["degraded"] == []
            assert reply["item_ids"] == [candidate.id for candidate in slate.candidates]
            arm = reply["experiment"]["arm"]
            assert arm == arm_of_user.setdefault(slate.user_id, arm)
            crosses = [candidate.features for candidate in slate.candidates]
            expected = references[arm].scores(slate.user_id, reply["item_ids"], slate.context, crosses)
            np.testing.assert_allclose(reply["scores"]["ctr"], expected["ctr"], atol=1e-5, rtol=0)
            arms[arm] += 1
    assert min(arms["dtn"], arms["ple"]) > SLATES / 5
    print(f"\n{SLATES} slates, {sum(len(s.candidates) for s in chosen):,} candidates, arms {dict(arms)}")
