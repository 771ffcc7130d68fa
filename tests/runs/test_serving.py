"""Pipelines as serving libraries write them: a module with a transformer and a diffusers scheduler."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tests.tiny import NFE, PLAN, STEPS, counted, flux
from torch import Tensor, nn

import padecast
from padecast import accelerate
from padecast.forecasters import Lagrange
from padecast.policies import Always, Plan


class Served(nn.Module):
    """A pipeline that is a module, and guides in a method of its own, as vLLM-Omni's are."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer, self.scheduler = flux(), FlowMatchEulerDiscreteScheduler()

    def forward(self, steps: int = STEPS, seed: int = 3) -> Tensor:
        """Sample: no pipeline of diffusers, and no cache contexts."""
        draw = torch.Generator().manual_seed(seed)
        latents, texts = torch.randn(1, 16, 4, generator=draw), torch.randn(2, 5, 8, generator=draw)
        self.scheduler.set_timesteps(steps)
        for t in self.scheduler.timesteps:
            latents = self.scheduler.step(self.guided(latents, t, texts), t, latents, return_dict=False)[0]
        return latents

    def guided(self, latents: Tensor, t: Tensor, texts: Tensor) -> Tensor:
        """Evaluate both conditionings."""
        first, second = (self.evaluate(latents, t, text[None]) for text in texts)
        return second + 3.0 * (first - second)

    def evaluate(self, latents: Tensor, t: Tensor, text: Tensor) -> Tensor:
        """Evaluate one."""
        pooled, guidance = text.mean(1), None
        ids = {"img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(5, 3)}
        given = {"encoder_hidden_states": text, "pooled_projections": pooled, "guidance": guidance, **ids}
        output: Tensor = self.transformer(latents, timestep=(t / 1000).expand(1), return_dict=False, **given)[0]
        return output


@pytest.fixture
def pipe() -> Any:
    return Served().eval()


@torch.no_grad()
def test_a_pipeline_that_is_a_module(pipe: Served) -> None:
    untouched = pipe()
    with accelerate(pipe, policy=Always(), forecaster=Lagrange()) as run:
        assert torch.equal(pipe(), untouched)
    assert (run.report.plan, run.report.unplaced, len(run.report.branches)) == ("C" * STEPS, 0, 2)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        with counted(pipe.transformer) as runs:
            forecast = pipe()
        assert set(runs.values()) == {2 * NFE}
        assert torch.equal(pipe(), forecast), "the second run is not as the first"
    assert (run.report.plan, run.report.notes) == (PLAN, {})
    assert not torch.equal(forecast, untouched)
    assert torch.equal(pipe(), untouched), "something was left behind"


@torch.no_grad()
def test_the_default_method_serves_it_at_any_length(pipe: Served) -> None:
    with accelerate(pipe) as run:
        for steps in (12, 20):
            pipe(steps)
            assert "." in run.report.plan
            assert len(run.report.plan) == steps


@torch.no_grad()
def test_it_and_its_transformer_are_not_accelerated_twice(pipe: Served) -> None:
    with (
        accelerate(pipe),
        pytest.raises(padecast.AlreadyAccelerated, match="pipe"),
        accelerate(pipe.transformer, steps=8),
    ):
        pass


def test_a_model_that_holds_one_called_transformer_is_a_model() -> None:
    model = nn.Module()
    model.transformer = flux()
    with pytest.raises(padecast.UnsupportedModel, match="Module takes input, and no timestep"):
        accelerate(model, "tc-pade", steps=STEPS).enable()
