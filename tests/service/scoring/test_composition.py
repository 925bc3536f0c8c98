"""The third score from the two that are given."""

import numpy as np

from service.scoring.composition import compose


def column(*values: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(values, np.float32)


def test_ctcvr_is_the_product_exactly() -> None:
    ctr, cvr = column(0.031, 0.5, 0, 1), column(0.11, 1, 0.3, 0.7)
    assert (compose({"ctr": ctr, "cvr": cvr})["ctcvr"] == ctr * cvr).all()


def test_cvr_is_the_ratio_at_most_one_and_zero_without_clicks() -> None:
    scores = compose({"ctr": column(0.5, 0.2, 0, 0.1), "ctcvr": column(0.25, 0.3, 0.1, 0)})
    assert scores["cvr"].tolist() == [0.5, 1.0, 0.0, 0.0]
    assert scores["cvr"].dtype == np.float32


def test_ctr_follows_from_the_other_two() -> None:
    assert compose({"cvr": column(0.5, 0), "ctcvr": column(0.25, 0.5)})["ctr"].tolist() == [0.5, 0.0]


def test_all_else_passes_through() -> None:
    for names in (["income"], ["ctr"], ["ctr", "cvr", "ctcvr"], ["ctr", "spend"], []):
        assert list(compose({name: column(0.5) for name in names})) == names
