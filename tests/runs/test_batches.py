"""With a fixed plan, a sample's image does not depend on its batch mates."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from tests.tiny import dit_pipeline, flux_pipeline, flux_prompt, sample_dit, sample_flux
from torch import Tensor

from padecast import Geometry, Position, accelerate
from padecast.forecasters import Forecaster, Lagrange, Pade, TCPade
from padecast.policies import Plan

PLAN = "CCC.C.C."
# Matrix products over a batch may be summed in another order than those over one sample, also without padecast; eight
# steps of a network with random weights enlarge the last bit of float32 (6e-8) ten- to a hundredfold, by processor.
ROUNDING = 2e-5
OPEN = 20.0  # a guard that lets the poles of random weights through, so that the weights do differ between samples


@dataclass(frozen=True)
class Averaged(Pade):
    """What must not be done: one set of weights from all samples."""

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        weights = super().weights(geometry, at)
        return weights.mean(0) if weights.ndim == 2 else weights


def batch_dependence(forecaster: Forecaster) -> float:
    """Greatest difference between images sampled together and one by one."""
    pipe, labels = dit_pipeline(), (3, 7, 900)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=forecaster) as run:
        together = sample_dit(pipe, labels=labels)
        assert run.report.plan == PLAN
        alone = torch.cat([sample_dit(pipe, labels=(label,)) for label in labels])
    return float((together - alone).abs().max())


@pytest.mark.parametrize("forecaster", [Pade(guard=OPEN), TCPade(), Lagrange()], ids=lambda part: type(part).__name__)
def test_an_image_is_independent_of_its_batch_mates(forecaster: Forecaster) -> None:
    assert batch_dependence(forecaster) < ROUNDING


def test_shared_weights_would_be_noticed() -> None:
    assert batch_dependence(Averaged(guard=OPEN)) > 100 * ROUNDING


def test_with_separate_guidance() -> None:
    pipe, prompts = flux_pipeline(), flux_prompt(2)
    seeds = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Pade(guard=OPEN)):
        together = sample_flux(pipe, generator=seeds, **prompts)
        for place in range(2):
            one = {name: value[place : place + 1] for name, value in prompts.items()}
            alone = sample_flux(pipe, generator=torch.Generator().manual_seed(place + 1), **one)
            assert (alone - together[place]).abs().max() < ROUNDING
