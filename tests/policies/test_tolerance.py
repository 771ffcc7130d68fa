from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, Position, Session, Trace
from padecast.forecasters import Lagrange
from padecast.policies import Tolerance

TOTAL = 14
few = settings(max_examples=10)  # a run asks for every distance again at every step


def horizon(policy: Tolerance, residuals: Tensor, stride: float | None = None) -> int:
    """Steps that are forecast after the last of these computed ones, in a run that does not end."""
    geometry = Geometry.of(residuals, list(range(len(residuals))))
    trace = Trace()
    for index in range(len(residuals)):
        trace = trace.then(Position.at(index, TOTAL, stride=stride), True)
    for ahead in range(TOTAL - 1 - len(residuals)):
        at = Position.at(len(residuals) + ahead, TOTAL, stride=stride)
        if policy.computes(at, trace, geometry):
            return ahead
        trace = trace.then(at, False)
    return TOTAL


def walk(seed: int, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return 3 + 0.2 * torch.randn(4, batch, 6, dtype=torch.float64, generator=generator).cumsum(0)


@few
@given(st.integers(0, 999), st.floats(0.001, 1), st.floats(1, 20))
def test_a_larger_tolerance_never_computes_earlier(seed: int, tolerance: float, factor: float) -> None:
    residuals = walk(seed)
    tight, loose = Tolerance(tolerance), Tolerance(tolerance * factor)
    assert horizon(tight, residuals) <= horizon(loose, residuals)


def test_the_tolerance_matters() -> None:
    horizons = [horizon(Tolerance(tolerance), walk(0)) for tolerance in (1e-6, 0.05, 1e6)]
    assert horizons[0] == 0 and horizons[1] < horizons[2] == TOTAL


@few
@given(st.integers(0, 999), st.floats(0.001, 0.5), st.sampled_from([1e-3, 1e3]))
def test_the_scale_of_the_features_does_not_matter(seed: int, tolerance: float, scale: float) -> None:
    policy = Tolerance(tolerance)
    assert horizon(policy, walk(seed)) == horizon(policy, scale * walk(seed))


@few
@given(st.integers(0, 999), st.floats(0.001, 0.5), st.floats(0.001, 0.1))
def test_longer_strides_never_compute_later(seed: int, tolerance: float, stride: float) -> None:
    policy = Tolerance(tolerance)
    assert horizon(policy, walk(seed), stride=2 * stride) <= horizon(policy, walk(seed), stride=stride)


def test_strides_matter() -> None:
    horizons = [horizon(Tolerance(0.05), walk(0), stride=stride) for stride in (10.0, 0.1, 1e-9)]
    assert horizons[0] == 0 and horizons[1] < horizons[2] == TOTAL


def test_what_is_not_known_yet_is_assumed() -> None:
    still = torch.ones(10, 1, 4)
    plans = [plan(Tolerance(0.095, prior=prior), still) for prior in (0.0, 1.0, 3.0, 1e6)]
    # a tenth of the way a step: after k steps the sum is prior * sum_j (j / 100) (2 j / 10)^(1/4) for j up to k
    assert plans == ["C.........", "C....C....", "C..C......", "CC........"]


def test_by_default_the_second_computed_step_comes_soon() -> None:
    still = torch.ones(20, 1, 4)
    plans = [plan(Tolerance(**old), still) for old in ({}, {"prior": 1.5, "doubt": 1.5})]
    # a twentieth of the way a step: after k steps the sum is prior * sum_j (j / 400) (2 j / 20)^(1/4) for j up to k
    assert plans == ["CC" + "." * 18, "C..C" + "." * 16]


def test_a_slope_that_two_residuals_vouch_for_is_trusted_less() -> None:
    line = torch.arange(1.0, 6.0, dtype=torch.float64)[:, None]
    policy, trace = Tolerance(1.0), Trace().then(Position.at(4, TOTAL), True)
    two, three = Geometry.of(line[-2:], [3, 4]), Geometry.of(line[-3:], [2, 3, 4])
    at = Position.at(5, TOTAL)
    assert policy.estimate(at, two) == pytest.approx(2.5 * policy.estimate(at, three))
    between = Tolerance(1.2 * at.weight * policy.estimate(at, three))
    assert between.computes(at, trace, two) and not between.computes(at, trace, three)
    trusting = Tolerance(1.0, doubt=1.0)
    assert trusting.estimate(at, two) == pytest.approx(trusting.estimate(at, three))


def test_what_is_not_a_number_is_computed() -> None:
    broken = Geometry.of(torch.full((3, 2), float("nan")), [0, 1, 2])
    assert Tolerance(1e9).computes(Position.at(3, TOTAL), Trace().then(Position.at(2, TOTAL), True), broken)


@few
@given(st.integers(0, 999), st.floats(0.001, 0.5))
def test_a_rougher_trajectory_never_computes_later(seed: int, tolerance: float) -> None:
    policy, smooth = Tolerance(tolerance, reference=Lagrange()), walk(seed)
    rough = smooth[-1] + 2 * (smooth - smooth[-1])  # the same newest residual, every difference doubled
    assert horizon(policy, rough) <= horizon(policy, smooth)


def plan(policy: Tolerance, residuals: Tensor, start: int = 0) -> str:
    session = Session(policy, Lagrange(), total=len(residuals))
    for index in range(start, len(residuals)):
        x = torch.zeros_like(residuals[0])
        session.step(x, index=index, compute=lambda index=index: residuals[index])
    return session.plan


@pytest.mark.parametrize("warmup", [1, 2, 3])
@pytest.mark.parametrize("last", [True, False])
def test_a_residual_that_stands_still_is_computed_at_the_start_and_the_end_alone(warmup: int, last: bool) -> None:
    policy = Tolerance(0.01, prior=3.0, warmup=warmup, last=last)
    still = torch.ones(10, 1, 4)
    begun = max(warmup, 2)  # before two residuals are known, three tenths of a change are expected of every step
    expected = "C" * begun + "." * (9 - begun) + ("C" if last else ".")
    assert plan(policy, still) == expected
    assert plan(policy, still, start=3) == "   " + "C" * begun + "." * (6 - begun) + ("C" if last else ".")


def test_no_tolerance_computes_everything_that_moves() -> None:
    residuals = torch.arange(1.0, 11.0)[:, None, None].expand(10, 2, 4)
    assert plan(Tolerance(1e-9), residuals) == "C" * 10


def test_decisions_are_shared_by_the_batch() -> None:
    still, moving = torch.ones(10, 1, 4), torch.arange(1.0, 11.0)[:, None, None].expand(10, 1, 4)
    policy = Tolerance(0.05)
    alone, together = plan(policy, still), plan(policy, torch.cat([still, moving], dim=1))
    assert together.count("C") > alone.count("C") == 2
