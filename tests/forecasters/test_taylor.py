from __future__ import annotations

from math import factorial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, Position, Session, policies
from padecast.forecasters import Lagrange, Taylor


class Recursion:
    """The published recursion, on tensors: differences are updated at computed steps and kept between them."""

    def __init__(self, order: int) -> None:
        self.order, self.differences, self.updated = order, list[Tensor](), 0

    def update(self, step: int, feature: Tensor) -> None:
        gap, new = step - self.updated, [feature]
        for previous in self.differences[: self.order]:
            new.append((new[-1] - previous) / gap)
        self.differences, self.updated = new, step

    def forecast(self, step: int) -> Tensor:
        ahead = step - self.updated
        return sum(d * ahead**i / factorial(i) for i, d in enumerate(self.differences))  # type: ignore[return-value]


@pytest.mark.parametrize("order", [0, 1, 2, 3])
@given(st.text("C.", min_size=6, max_size=24), st.integers(0, 99))
def test_a_run_equals_the_published_recursion(order: int, tail: str, seed: int) -> None:
    plan, recursion = "C" + tail, Recursion(order)
    session = Session(policies.Plan(plan), Taylor(order), total=len(plan))
    features = torch.randn(len(plan), 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for index, feature in enumerate(features):
        x = torch.zeros(2, 5, dtype=torch.float64)
        out = session.step(x, index=index, compute=lambda feature=feature: feature)
        if plan[index] == "C":
            recursion.update(index, feature)
            assert torch.equal(out, feature)
        else:
            expected = recursion.forecast(index)
            # 1e-9: differences of noise over many steps cancel
            torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9 * expected.abs().max().item())
    assert session.plan == plan


@given(st.integers(1, 9), st.integers(1, 9))
def test_order_one_is_linear_extrapolation(gap: int, ahead: int) -> None:
    geometry, at = Geometry((gap, 0), (float(gap), 0.0)), Position.at(gap + ahead, 20)
    torch.testing.assert_close(Taylor(1).weights(geometry, at), Lagrange(1).weights(geometry, at))


def test_order_two_is_not_exact_on_quadratics_as_published() -> None:
    geometry, at = Geometry((8, 4, 0), (8.0, 4.0, 0.0)), Position.at(10, 20)
    squares = torch.tensor([64.0, 16.0, 0.0], dtype=torch.float64)
    # differences 12 and 2 instead of derivatives 16 and 2: 64 + 12 * 2 + 2 * 2**2 / 2 instead of 100
    assert (Taylor(2).weights(geometry, at) @ squares).item() == 92
    assert (Lagrange(2).weights(geometry, at) @ squares).item() == 100
