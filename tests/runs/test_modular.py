"""Modular pipelines, with guiders of one to three predictions a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import AutoGuidance, ClassifierFreeGuidance, SkipLayerGuidance, SmoothedEnergyGuidance
from diffusers.guiders.smoothed_energy_guidance import SmoothedEnergyGuidanceConfig
from diffusers.hooks import LayerSkipConfig
from tests.runs import modular
from torch import Tensor

from padecast import accelerate
from padecast.forecasters import Lagrange, Oracle
from padecast.hooks.blocks.spans import stack_of
from padecast.policies import Always, Plan
from padecast.targets import find
from padecast.targets.pipelines import models_of

STEPS = modular.STEPS
PLAN = "CC.C.C"
NFE = PLAN.count("C")
LAYERS: dict[str, Any] = {"start": 0.0, "stop": 1.0}

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def skip_layer() -> Any:
    """Guide by a model without its second block: three predictions."""
    layers = LayerSkipConfig(indices=[1], fqn="blocks")
    always = {f"skip_layer_guidance_{end}": value for end, value in LAYERS.items()}
    return SkipLayerGuidance(3.0, skip_layer_guidance_scale=2.0, skip_layer_config=layers, **always)


def weak() -> Any:
    """Guide by a model without its second block and without the text: two predictions."""
    return AutoGuidance(3.0, auto_guidance_config=LayerSkipConfig(indices=[1], fqn="blocks"))


def smoothed() -> Any:
    """Guide by a model whose second block attends smoothly: three predictions."""
    layers = SmoothedEnergyGuidanceConfig(indices=[1], fqn="transformer_blocks")
    return SmoothedEnergyGuidance(
        3.0, seg_guidance_scale=2.0, seg_guidance_config=layers, seg_guidance_start=0.0, seg_guidance_stop=1.0
    )


LATE = {"pred_cond_skip"}
"""Begins at the second step, which the plan computes."""
TWO, THREE = ("pred_cond", "pred_uncond"), ("pred_cond", "pred_uncond", "pred_cond_skip")
Case = tuple[Callable[[], Any], Callable[..., Tensor], tuple[str, ...]]
CASES: dict[str, Case] = {
    "flux": (modular.flux, modular.sample_flux, ("call 1",)),
    "wan": (modular.wan, modular.sample_wan, TWO),
    "wan, skipped layers": (lambda: modular.wan(skip_layer()), modular.sample_wan, THREE),
    "wan, weak": (lambda: modular.wan(weak()), modular.sample_wan, TWO),
    "qwen": (modular.qwen21, modular.sample_qwen21, TWO[:1]),
    "qwen, guided": (lambda: modular.qwen21(ClassifierFreeGuidance(3.0)), modular.sample_qwen21, TWO),
    "minimax-h3": (modular.minimax_h3, modular.sample_minimax_h3, ("call 1",)),
    "minimax-h3, references": (modular.minimax_h3_references, modular.sample_minimax_h3, ("call 1",)),
}
SLOW = ("minimax-h3, references", "wan, weak", "qwen", "wan")


def count_blocks(model: Any) -> list[int]:
    """Count from now on how often the first and the last block of a model really run."""
    runs = [0, 0]
    parts = stack_of(model, find(model), "full").parts
    for place in (0, -1):

        def counting(*args: Any, _forward: Any = parts[place].forward, _place: int = place, **kwargs: Any) -> Any:
            runs[_place] += 1
            return _forward(*args, **kwargs)

        parts[place].forward = counting
    return runs


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in CASES]
)
def test_a_modular_pipeline(name: str) -> None:
    make, sample, branches = CASES[name]
    pipe = make()
    runs = count_blocks(models_of(pipe)[0])
    untouched = sample(pipe)
    with accelerate(pipe, policy=Always(), forecaster=Lagrange()) as run:
        assert torch.equal(sample(pipe), untouched), "all computed, and not bit-identical"
    assert (run.report.plan, run.report.branches, run.report.unplaced) == ("C" * STEPS, branches, 0)
    assert run.report.notes == {}
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()) as run:
        torch.testing.assert_close(sample(pipe), untouched, rtol=1e-4, atol=1e-5)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        runs[:] = [0, 0]
        forecast = sample(pipe)
        assert runs == [sum(NFE - (branch in LATE) for branch in branches)] * 2
        assert torch.equal(sample(pipe), forecast), "the second run is not as the first"
    assert (run.report.plan, run.report.notes) == (PLAN, {})
    assert not torch.equal(forecast, untouched)
    assert torch.equal(sample(pipe), untouched), "something was left behind"


@pytest.mark.slow
def test_guidance_of_a_third_kind_that_begins_later() -> None:
    """Smoothed attention begins behind the first step: its branch has a history of its own."""
    pipe = modular.qwen21(smoothed())
    untouched = modular.sample_qwen21(pipe)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()) as run:
        torch.testing.assert_close(modular.sample_qwen21(pipe), untouched, rtol=1e-4, atol=1e-5)
    assert run.report.branches == (*TWO, "pred_cond_seg")


@pytest.mark.slow
def test_a_guider_that_is_exchanged_while_it_is_on() -> None:
    """Nobody listens to the new one: what cannot be told apart is computed."""
    pipe = modular.wan()
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()) as run:
        modular.sample_wan(pipe)
        assert run.report.branches == TWO
        pipe.update_components(guider=skip_layer())
        forecast = modular.sample_wan(pipe)
        assert run.report.plan == PLAN
    torch.testing.assert_close(forecast, modular.sample_wan(pipe), rtol=1e-4, atol=1e-5)
