from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, Position, Session, Trace
from padecast._noise import Noise
from padecast.forecasters import Lagrange
from padecast.policies import Tolerance

TOTAL = 14
few = settings(max_examples=10)  # a run asks for every distance again at every step


def horizon(policy: Tolerance, residuals: Tensor, noise: Noise | None = None) -> int:
    """Steps that are forecast after the last of these computed ones, in a run that does not end."""
    geometry = Geometry.of(residuals, list(range(len(residuals))))
    trace = Trace()
    for index in range(len(residuals)):
        trace = trace.then(Position.at(index, TOTAL, noise=noise), True)
    for ahead in range(TOTAL - 1 - len(residuals)):
        at = Position.at(len(residuals) + ahead, TOTAL, noise=noise)
        if policy.computes(at, trace, geometry):
            return ahead
        trace = trace.then(at, False)
    return TOTAL


def flow(shift: float, size: float = 25.0, gain: float = 1.0) -> Noise:
    """Rectified flow at a shift; what an error does is scaled."""
    sigmas = [shift * u / (1 + (shift - 1) * u) for u in (1 - i / TOTAL for i in range(TOTAL))]
    return Noise((*(1 - s for s in sigmas), 1.0), (*sigmas, 0.0), size, tuple(gain * s for s in sigmas))


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
@given(st.integers(0, 999), st.floats(0.001, 0.5), st.floats(0.01, 100))
def test_errors_that_do_more_never_compute_later(seed: int, tolerance: float, gain: float) -> None:
    policy = Tolerance(tolerance)
    assert horizon(policy, walk(seed), flow(1.0, gain=2 * gain)) <= horizon(policy, walk(seed), flow(1.0, gain=gain))


def test_what_errors_do_matters() -> None:
    horizons = [horizon(Tolerance(0.05), walk(0), flow(1.0, gain=gain)) for gain in (1e6, 10, 1e-9)]
    assert horizons[0] == 0 and horizons[1] < horizons[2] == TOTAL


def test_the_decision_is_that_of_the_formula() -> None:
    residuals, noise = walk(3), flow(3.0, size=2500.0)
    effective = [s / (s + 10 * a) for a, s in zip(noise.alphas, noise.sigmas, strict=True)]
    places = [1 - level**0.5 for level in effective]
    apart = (residuals[3] - residuals[2]).square().sum(-1) / residuals[3].square().sum(-1)
    pace = float(apart.mean().sqrt()) / (places[3] - places[2])
    strayed = [
        noise.gains[j] * (1 - effective[j + 1] / effective[j]) * (places[j] - places[3]) ** 2 * pace for j in (4, 5, 6)
    ]
    for tolerance, expected in ((0.99 * sum(strayed[:1]), 0), (1.01 * sum(strayed[:1]), 1), (1.01 * sum(strayed), 3)):
        assert horizon(Tolerance(tolerance), residuals, noise) == expected


def test_strides_of_the_sampler_decide_nothing() -> None:
    """As FLUX's, which are short where the image is decided; see docs/worlds.md."""
    plans = [plan(Tolerance(0.01), torch.arange(1.0, 21.0)[:, None, None], strides=s) for s in (None, range(1, 21))]
    assert plans[0] == plans[1]


def test_what_is_not_a_number_is_computed() -> None:
    broken = Geometry.of(torch.full((3, 2), float("nan")), [0, 1, 2])
    assert Tolerance(1e9).computes(Position.at(3, TOTAL), Trace().then(Position.at(2, TOTAL), True), broken)


@few
@given(st.integers(0, 999), st.floats(0.001, 0.5))
def test_a_rougher_trajectory_never_computes_later(seed: int, tolerance: float) -> None:
    policy, smooth = Tolerance(tolerance), walk(seed)
    rough = smooth[-1] + 2 * (smooth - smooth[-1])  # the same newest residual, every difference doubled
    assert horizon(policy, rough) <= horizon(policy, smooth)


def plan(policy: Tolerance, residuals: Tensor, start: int = 0, strides: Any = None) -> str:
    session = Session(policy, Lagrange(), total=len(residuals), strides=strides)
    for index in range(start, len(residuals)):
        x = torch.zeros_like(residuals[0])
        session.step(x, index=index, compute=lambda index=index: residuals[index])
    return session.plan


@pytest.mark.parametrize("warmup", [2, 3, 4])
@pytest.mark.parametrize("last", [True, False])
def test_a_residual_that_stands_still_is_computed_at_the_start_and_the_end_alone(warmup: int, last: bool) -> None:
    policy, still = Tolerance(0.01, warmup=warmup, last=last), torch.ones(10, 1, 4)
    assert plan(policy, still) == "C" * warmup + "." * (9 - warmup) + ("C" if last else ".")
    assert plan(policy, still, start=3) == "   " + "C" * warmup + "." * (6 - warmup) + ("C" if last else ".")


def test_no_tolerance_computes_everything_that_moves() -> None:
    residuals = torch.arange(1.0, 11.0)[:, None, None].expand(10, 2, 4)
    assert plan(Tolerance(1e-9), residuals) == "C" * 10


def test_decisions_are_shared_by_the_batch() -> None:
    still, moving = torch.ones(10, 1, 4), torch.arange(1.0, 11.0)[:, None, None].expand(10, 1, 4)
    policy = Tolerance(0.005)
    alone, together = plan(policy, still), plan(policy, torch.cat([still, moving], dim=1))
    assert together.count("C") > alone.count("C") == 3


def test_a_way_that_leads_to_noise_is_gone_as_well() -> None:
    """As inversion goes, from the image to noise: the same decisions for the levels in the other order."""
    sigmas = [1 - i / TOTAL for i in range(TOTAL)]
    rising = Noise((*sigmas, 0.0), (*(1 - s for s in sigmas), 1.0), 25.0, (1.0,) * TOTAL)
    horizons = [horizon(Tolerance(tolerance), walk(0), rising) for tolerance in (1e-9, 0.05, 1e6)]
    assert horizons[0] == 0 < horizons[1] < horizons[2] == TOTAL
