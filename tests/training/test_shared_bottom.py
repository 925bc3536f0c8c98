"""Shared bottom against its one equation in numpy."""

import numpy as np

from contract.schema import Task
from tests.training import reference
from training.models.shared_bottom import SharedBottom


def test_towers_read_one_bottom() -> None:
    tasks = (Task(name="click", label="c"), Task(name="spend", label="s", kind="continuous"))
    model = reference.build("shared_bottom", tasks, layers=(5, 6), tower=(3,), regression={"spend": "ziln"})
    assert isinstance(model, SharedBottom)
    vectors = reference.sample(model)
    (shared,) = reference.experts(model.bottom, reference.numbers(vectors).reshape(reference.ROWS, -1))
    expected = np.hstack([reference.tower(tower, shared) for tower in model.towers])
    assert expected.shape == (reference.ROWS, 4)  # a logit, and the three outputs of a zero-inflated log-normal
    np.testing.assert_allclose(reference.scored(model, vectors), expected, atol=1e-5)
