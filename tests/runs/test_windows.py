"""A forecaster sees as many residuals as its window, whatever else is remembered, and answers for them alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from tests.tiny import flux_pipeline, sample_flux
from torch import Tensor

from padecast import InvalidOption, accelerate
from padecast.forecasters import Forecaster

PLAN = "plan:steps=CCC.C..C"


@dataclass(frozen=True)
class Mean(Forecaster):
    """The mean of what it sees."""

    window = 2

    def weights(self, geometry: Any, at: Any) -> Any:
        SIZES.append(len(geometry))
        return torch.full((len(geometry),), 1 / len(geometry), dtype=torch.float64)


@dataclass(frozen=True)
class Many(Forecaster):
    """Weights of more than there is."""

    window = 2

    def weights(self, geometry: Any, at: Any) -> Any:
        return torch.full((5,), 0.2, dtype=torch.float64)


@dataclass(frozen=True)
class Listed(Forecaster):
    """No tensor."""

    def weights(self, geometry: Any, at: Any) -> Any:
        return [1.0]


SIZES: list[int] = []


def draw(forecaster: Forecaster, *, measure: bool = True) -> Tensor:
    pipe = flux_pipeline()
    with accelerate(pipe, policy=PLAN, forecaster=forecaster, measure=measure) as run:
        image = sample_flux(pipe, steps=8)
    assert run.report.forecast
    return image


def test_a_report_that_measures_more_changes_no_image() -> None:
    SIZES.clear()
    torch.testing.assert_close(draw(Mean()), draw(Mean(), measure=False), rtol=0, atol=1e-5)  # but for rounding
    assert set(SIZES) == {2}


@pytest.mark.parametrize(
    ("forecaster", "words"), [(Many(), r"Many.*\(5,\), where 2"), (Listed(), "Listed.*list, where 1")]
)
def test_weights_that_fit_nothing_are_refused_with_the_shape_that_does(forecaster: Forecaster, words: str) -> None:
    with pytest.raises(InvalidOption, match=words):
        draw(forecaster)
