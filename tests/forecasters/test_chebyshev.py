from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, InvalidOption, Position, Session, policies
from padecast.forecasters import Chebyshev, Lagrange

TOTAL = 20


def geometry(index: list[int]) -> Geometry:
    newest_first = tuple(sorted(index, reverse=True))
    return Geometry(newest_first, tuple(map(float, newest_first)))


def normal_equations(index: list[int], at: int, degree: int, ridge: float, span: int) -> Tensor:
    """``phi(tau)^T (Phi^T Phi + ridge I)^-1 Phi^T``, newest first, with ``T_n(cos x) = cos(n x)``."""

    def row(i: int) -> np.ndarray:
        return np.array([math.cos(n * math.acos(2 * i / (span - 1) - 1)) for n in range(degree + 1)])

    design = np.stack([row(i) for i in sorted(index, reverse=True)])
    inverse = np.linalg.inv(design.T @ design + ridge * np.eye(degree + 1))
    return torch.from_numpy(row(at) @ inverse @ design.T)


@pytest.mark.parametrize("span", [None, 50])
@given(
    st.sets(st.integers(0, TOTAL - 2), min_size=1, max_size=12),
    st.integers(0, 6),
    st.sampled_from([0.01, 0.1, 1.0]),
)
def test_weights_solve_the_normal_equations(span: int | None, index: set[int], degree: int, ridge: float) -> None:
    weights = Chebyshev(degree, ridge, span=span).weights(geometry(list(index)), Position.at(TOTAL - 1, TOTAL))
    expected = normal_equations(list(index), TOTAL - 1, degree, ridge, span or TOTAL)
    torch.testing.assert_close(weights, expected, rtol=1e-9, atol=1e-9)  # the normal equations square the condition


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
@given(data=st.data())
def test_without_a_ridge_polynomials_of_its_degree_are_forecast_exactly(degree: int, data: st.DataObject) -> None:
    index = data.draw(st.sets(st.integers(0, TOTAL - 2), min_size=degree + 1, max_size=9))
    t = torch.tensor(sorted(index, reverse=True), dtype=torch.float64)[:, None] / TOTAL
    polynomial = torch.randn(degree + 1, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(degree))
    powers = torch.arange(degree + 1, dtype=torch.float64)
    weights = Chebyshev(degree, ridge=0.0).weights(geometry(list(index)), Position.at(TOTAL - 1, TOTAL))
    known = t**powers @ polynomial
    truth = ((TOTAL - 1) / TOTAL) ** powers @ polynomial
    bound = 1e-9 * (weights.abs() @ known.abs()) + 1e-9  # steps in a corner of the interval: ill-conditioned
    assert ((weights @ known - truth).abs() <= bound).all()


def test_without_a_ridge_and_with_enough_steps_a_line_is_forecast_ahead() -> None:
    index = [0, 4, 8]
    weights = Chebyshev(2, ridge=0.0).weights(geometry(index), Position.at(9, TOTAL))
    assert (weights @ torch.tensor([8.0, 4.0, 0.0], dtype=torch.float64)).item() == pytest.approx(9)


def test_with_the_published_ridge_a_line_is_forecast_behind_its_newest_residual() -> None:
    line = torch.tensor([14.0, 13.0, 12.0, 11.0, 10.0], dtype=torch.float64)
    forecast = Chebyshev(4, ridge=0.1).weights(geometry([0, 1, 2, 3, 4]), Position.at(5, TOTAL)) @ line
    assert 0 < forecast < line[0]


@given(st.sampled_from([0.0, 0.25, 1.0]), st.floats(0.01, 1))
def test_blending_mixes_with_linear_extrapolation(share: float, ridge: float) -> None:
    known, at = geometry([0, 1, 4, 8]), Position.at(11, TOTAL)
    line, pure = Lagrange(1).weights(known, at), Chebyshev(ridge=ridge).weights(known, at)
    mixed = Chebyshev(ridge=ridge, blend=share).weights(known, at)
    torch.testing.assert_close(mixed, (1 - share) * line + share * pure)


def test_the_released_map_is_the_runs_own_at_fifty_steps() -> None:
    known = geometry([0, 5, 10])
    at = Position.at(12, 50)
    assert torch.equal(Chebyshev(span=50).weights(known, at), Chebyshev().weights(known, at))
    at = Position.at(12, TOTAL)
    assert not torch.allclose(Chebyshev(span=50).weights(known, at), Chebyshev().weights(known, at))


def test_the_regression_reads_the_step_index_and_not_the_time() -> None:
    known, at = geometry([0, 4, 8]), Position.at(11, TOTAL)
    warped = Geometry(known.index, tuple(0.5 * t**2 + 1 for t in known.time))
    assert torch.equal(Chebyshev().weights(warped, Position.at(11, TOTAL, 77.0)), Chebyshev().weights(known, at))
    later = Geometry(tuple(i + 3 for i in known.index), known.time)
    assert not torch.allclose(Chebyshev().weights(later, Position.at(14, TOTAL)), Chebyshev().weights(known, at))


def test_the_time_of_a_run_maps_as_its_step_index_does() -> None:
    known, at = geometry([0, 4, 8]), Position.at(11, TOTAL, 11 / 19)
    timed = Geometry(known.index, tuple(i / 19 for i in known.index))
    torch.testing.assert_close(Chebyshev(abscissa="time").weights(timed, at), Chebyshev().weights(known, at))


def test_a_time_outside_the_unit_interval_is_refused() -> None:
    with pytest.raises(InvalidOption, match=r"time=8\.0"):
        Chebyshev(abscissa="time").weights(geometry([8]), Position.at(9, TOTAL, 0.5))


@pytest.mark.parametrize("blend", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_moments_forecast_what_the_weights_say_of_all_residuals(blend: float, dtype: torch.dtype) -> None:
    chebyshev, plan = Chebyshev(blend=blend), "CCCCC.C..C...C..CC.."
    session = Session(policies.Plan(plan), chebyshev, total=TOTAL)
    residuals = torch.randn(TOTAL, 2, 3, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    x = torch.zeros(2, 3, 4, dtype=dtype)
    for index, residual in enumerate(residuals):
        out = session.step(x, index=index, compute=lambda residual=residual: residual)
        if plan[index] == ".":
            known = [i for i in range(index) if plan[i] == "C"]
            weights = chebyshev.weights(geometry(known), Position.at(index, TOTAL))
            exact = torch.einsum("k,kbnd->bnd", weights, residuals[sorted(known, reverse=True)].double())
            torch.testing.assert_close(out, exact.to(dtype))
    assert session.plan == plan
