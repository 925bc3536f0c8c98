"""A drop beyond noise, on made-up rounds."""

import itertools
from pathlib import Path

import numpy as np
import pytest

from contract.errors import ConfigError
from loadtest.drops import Change, change, changes, check_base, check_same, depth
from loadtest.result import Result, machine, read_result

ERROR = 0.01


def _rounds(rng: np.random.Generator, rate: float, count: int = 10) -> list[dict[str, float]]:
    """Rounds with 8 % noise and a slow one now and then."""
    factors = rng.lognormal(0, 0.08, count) * np.where(rng.random(count) < 0.1, 0.6, 1)
    return [
        {
            "requests": 100.0,
            "requests_per_second": rate * f,
            "candidates_per_second": rate * f * 200,
            "p50_ms": 1_000 / rate / f,
            "p99_ms": 3_000 / rate / f * rng.lognormal(0, 0.1),
            "cpu_ms_a_request": 1_000 / rate * rng.lognormal(0, 0.02),
        }
        for f in factors
    ]


def _result(rounds: list[dict[str, float]], **other: str) -> Result:
    workload = {"shape": "closed", "users": 8, "stored_items": 60} | other
    host = "http://127.0.0.1:8000"
    return Result(
        host=host,
        workload=workload,
        machine=machine(),
        commit="abc",
        models={"ple": "1"},
        figures={},
        rounds=rounds,
        counts={},
        findings={},
    )


def _flagged(seed: int, drop: float) -> list[Change]:
    rng = np.random.default_rng(seed)
    base, now = _result(_rounds(rng, 500)), _result(_rounds(rng, 500 * (1 - drop)))
    return [one for one in changes(base, now) if one.worse(0.05)]


def test_no_drop_is_flagged_in_less_than_5_percent() -> None:
    assert sum(bool(_flagged(seed, 0)) for seed in range(400)) <= 0.05 * 400


def test_drop_of_20_percent_is_flagged() -> None:
    assert sum(bool(_flagged(seed, 0.2)) for seed in range(200)) >= 0.98 * 200


def test_rise_is_no_drop() -> None:
    assert not any(_flagged(seed, -0.3) for seed in range(20))


def test_small_drop_is_let_pass_however_sure() -> None:
    rate = change("requests_per_second", [100.0] * 10, [97.0] * 10, ERROR)
    assert (rate.low, rate.high) == (0.97, 0.97)
    assert not rate.worse(0.05)
    assert rate.worse(0.02)


@pytest.mark.parametrize("sizes", [(3, 4), (5, 5), (2, 7), (6, 1)])
@pytest.mark.parametrize("error", [0.5, 0.2, 0.05, 0.01])
def test_depth_is_that_of_all_orders(sizes: tuple[int, int], error: float) -> None:
    n, m = sizes
    orders = list(itertools.combinations(range(n + m), n))
    statistics = np.array([sum(order) - n * (n - 1) // 2 for order in orders])
    expected = sum((statistics <= u).mean() <= error / 2 for u in range(n * m + 1))
    assert depth(n, m, error) == expected


def test_interval_holds_the_true_ratio_as_often_as_it_says() -> None:
    rng, held = np.random.default_rng(1), 0
    for _ in range(1_000):
        base, now = rng.lognormal(0, 0.3, 6), 0.8 * rng.lognormal(0, 0.3, 8)
        found = change("p50_ms", base.tolist(), now.tolist(), 0.1)
        held += found.low <= 0.8 <= found.high
    assert 890 <= held <= 960


def test_interval_and_figures_stand_in_the_line() -> None:
    line = str(change("p99_ms", [10.0] * 10, [20.0] * 10, ERROR))
    assert line == "p99_ms: base 10, now 20, ratio 2.000 [2.000, 2.000]"


def test_figure_that_a_round_lacks_is_left_out() -> None:
    rng = np.random.default_rng(1)
    base, now = _rounds(rng, 500), _rounds(rng, 500)
    del base[3]["cpu_ms_a_request"]
    assert "cpu_ms_a_request" not in {one.name for one in changes(_result(base), _result(now))}


def test_too_few_rounds_are_refused() -> None:
    with pytest.raises(ConfigError, match="too few"):
        change("p50_ms", [1.0] * 4, [1.0] * 4, ERROR)


def test_other_workload_is_refused() -> None:
    base = _result([], users="16")
    with pytest.raises(ConfigError, match="users 16, now 8"):
        check_same(base, _result([]).workload)
    check_same(base, base.workload)


@pytest.mark.parametrize(
    ("changed", "host", "named"),
    [
        ({"shape": "spike"}, "http://127.0.0.1:1", "--shape spike"),
        ({}, "http://elsewhere:8000", "--host is elsewhere"),
    ],
)
def test_what_cannot_be_compared_is_refused(changed: dict[str, str], host: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        check_base(_result([], **changed), Path("result.json"), host)


def test_other_machine_and_idle_round_are_refused() -> None:
    base = _result([{"requests": 0.0}])
    with pytest.raises(ConfigError, match="round 1 has no requests"):
        check_base(base, Path("result.json"), base.host)
    base.machine["cores"] = 999
    with pytest.raises(ConfigError, match="another machine"):
        check_base(base, Path("result.json"), base.host)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1}', '{"format": 0}'])
def test_file_that_is_no_result_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "result.json"
    with pytest.raises(ConfigError, match=r"result\.json"):
        read_result(file)
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"result\.json"):
        read_result(file)
