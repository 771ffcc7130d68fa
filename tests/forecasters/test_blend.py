from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from padecast import Geometry, InvalidOption, Position
from padecast.forecasters import Blend, Chebyshev, Feedback, Forecaster, Lagrange, Oracle, Pade, Reuse, TCPade

SEQUENCE = torch.randn(5, 2, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
KNOWN, AT = Geometry.of(SEQUENCE, [0, 1, 3, 4, 7]), Position.at(9, 20)


@pytest.mark.parametrize(("first", "second"), [(Reuse(), Pade()), (Pade((2, 1)), Lagrange(3)), (Lagrange(), Reuse())])
def test_the_share_goes_from_the_first_to_the_second(first: Forecaster, second: Forecaster) -> None:
    one, two = first.weights(KNOWN, AT).expand(2, -1), second.weights(KNOWN, AT).expand(2, -1)
    for share in (0.0, 0.3, 1.0):
        mixed = Blend(first, second, share).weights(KNOWN, AT).expand(2, -1)
        torch.testing.assert_close(mixed, (1 - share) * one + share * two)


def test_it_needs_what_its_parts_need() -> None:
    assert Blend(Reuse(), Lagrange(4)).window == Blend(Lagrange(4), Reuse()).window == 5
    assert Blend(Reuse(), Pade()).needs_gram and Blend(Pade(), Reuse()).needs_gram
    assert not Blend(Reuse(), Lagrange()).needs_gram
    assert Blend(Feedback(), Reuse()).needs_stride and not Blend(Reuse(), Pade()).needs_stride
    assert Blend(Reuse(), Pade()).sums_to_one and not Blend(Reuse(), Pade((0, 1))).sums_to_one


@pytest.mark.parametrize("part", [Chebyshev(), Oracle(), TCPade(form="published"), "lagrange", None])
@pytest.mark.parametrize("name", ["first", "second"])
def test_a_part_that_is_not_weights_on_residuals_is_refused(name: str, part: object) -> None:
    with pytest.raises(InvalidOption, match=f"{name}="):
        Blend(**{name: part})  # type: ignore[arg-type]


def test_blends_nest() -> None:
    nested = Blend(Blend(Reuse(), Lagrange(2), 0.5), Lagrange(1), 0.5).weights(KNOWN, AT)
    parts = (Reuse().weights(KNOWN, AT), Lagrange(2).weights(KNOWN, AT), Lagrange(1).weights(KNOWN, AT))
    torch.testing.assert_close(nested, 0.25 * parts[0] + 0.25 * parts[1] + 0.5 * parts[2])


@dataclass(frozen=True)
class Average(Forecaster):
    """Parts that nobody told it to forward to."""

    first: Forecaster = field(default_factory=Pade)
    second: Forecaster = field(default_factory=Feedback)

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        return (self.first.weights(geometry, at) + self.second.weights(geometry, at)) / 2


def test_what_a_forecaster_of_ones_own_needs_is_what_its_parts_do() -> None:
    assert Average().needs_gram and Average().needs_stride and Average().sums_to_one and Average().window == 3
    assert not Average(Reuse(), Reuse()).needs_gram and not Average(Pade((0, 1))).sums_to_one
