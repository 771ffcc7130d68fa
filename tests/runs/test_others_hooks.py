"""Other libraries replace forwards too: before us, after us, and taking theirs off in any order."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from accelerate import cpu_offload
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module
from diffusers import FirstBlockCacheConfig
from diffusers.hooks import apply_group_offloading
from tests.representative import representative
from tests.tiny import FAMILIES, PLAN, Family, blocks, counted, flux_pipeline, footprint, sample_flux
from torch import nn

from padecast import FeatureChanged, InvalidOption, PadecastWarning, accelerate
from padecast.forecasters import Lagrange
from padecast.policies import Plan

DRAWN = Plan(PLAN)
OPTIONS: dict[str, Any] = {"policy": DRAWN, "forecaster": Lagrange()}


class Counting(ModelHook):
    """An accelerate hook that changes nothing and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        self.calls += 1
        return args, kwargs


def hooked(model: nn.Module) -> list[nn.Module]:
    return [model, *(block for listed in blocks(model).values() for block in listed)]


def hook_all(model: nn.Module) -> Counting:
    hook = Counting()
    for module in hooked(model):
        add_hook_to_module(module, hook)
    return hook


def unhook_all(model: nn.Module) -> None:
    for module in hooked(model):
        remove_hook_from_module(module)


@pytest.fixture(params=representative(FAMILIES, ["dit", "wan"]), ids=str)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


class TestAccelerateHooks:
    def test_before_us(self, family: Family) -> None:
        pipe = family.make()
        untouched = family.sample(pipe)
        hook, before = hook_all(pipe.transformer), footprint(pipe.transformer)
        with accelerate(pipe, **OPTIONS) as run:
            expected = family.sample(pipe)
            assert run.report.plan == PLAN
        assert footprint(pipe.transformer) == before
        calls = hook.calls
        assert torch.equal(family.sample(pipe), untouched)
        assert hook.calls > calls
        unhook_all(pipe.transformer)
        with accelerate(pipe, **OPTIONS):
            assert torch.equal(family.sample(pipe), expected)

    def test_after_us_and_off_before_us(self, family: Family) -> None:
        pipe = family.make()
        untouched = family.sample(pipe)
        handle = accelerate(pipe, **OPTIONS).enable()
        expected = family.sample(pipe)
        hook = hook_all(pipe.transformer)
        assert torch.equal(family.sample(pipe), expected)
        assert hook.calls > 0
        unhook_all(pipe.transformer)
        assert torch.equal(family.sample(pipe), expected)
        handle.disable()
        assert torch.equal(family.sample(pipe), untouched)
        assert not any("forward" in vars(block) for block in hooked(pipe.transformer)[1:])

    def test_after_us_and_off_after_us(self, family: Family) -> None:
        pipe = family.make()
        untouched = family.sample(pipe)
        handle = accelerate(pipe, **OPTIONS).enable()
        hook = hook_all(pipe.transformer)
        handle.disable()
        assert torch.equal(family.sample(pipe), untouched)
        assert hook.calls > 0
        unhook_all(pipe.transformer)
        assert torch.equal(family.sample(pipe), untouched)
        for module in hooked(pipe.transformer):  # accelerate leaves the method on the instance, and nothing of ours
            assert module.forward == type(module).forward.__get__(module)

    def test_between_two_of_ours(self, family: Family) -> None:
        pipe = family.make()
        other = type(pipe)(**pipe.components)
        other.set_progress_bar_config(disable=True)
        untouched = family.sample(pipe)
        first = accelerate(pipe, **OPTIONS).enable()
        expected = family.sample(pipe)
        hook_all(pipe.transformer)
        second = accelerate(other, **OPTIONS).enable()
        assert torch.equal(family.sample(pipe), expected)
        assert torch.equal(family.sample(other), expected)
        first.disable()
        assert torch.equal(family.sample(pipe), untouched)
        assert torch.equal(family.sample(other), expected)
        second.disable()
        unhook_all(pipe.transformer)
        assert torch.equal(family.sample(pipe), untouched)
        for module in hooked(pipe.transformer):
            assert module.forward == type(module).forward.__get__(module)


def by_model(pipe: Any) -> None:
    pipe.enable_model_cpu_offload(device="cpu")  # takes its hooks off and puts new ones on after every run


def sequentially(pipe: Any) -> None:
    cpu_offload(pipe.transformer, execution_device=torch.device("cpu"), offload_buffers=True)


def in_groups(pipe: Any) -> None:
    options = {"offload_type": "block_level", "num_blocks_per_group": 1}
    apply_group_offloading(pipe.transformer, onload_device=torch.device("cpu"), **options)


@pytest.mark.parametrize("offload", [by_model, sequentially, in_groups])
@pytest.mark.parametrize("first", representative(["offload", "accelerate"], ["offload"]))
def test_offloading(family: Family, offload: Callable[[Any], None], first: str) -> None:
    # Without a VAE the pipeline takes its device from the offloaded transformer, and not from the first of its models.
    pipe = family.make(vae=None) if family.name == "flux" else family.make()
    sample = partial(sample_flux, size=64) if family.name == "flux" else family.sample
    untouched = sample(pipe)
    with accelerate(pipe, **OPTIONS):
        expected = sample(pipe)
    if first == "offload":
        offload(pipe)
    handle = accelerate(pipe, **OPTIONS).enable()
    if first == "accelerate":
        offload(pipe)
    with counted(pipe.transformer) as runs:
        assert torch.equal(sample(pipe), expected)
        assert torch.equal(sample(pipe), expected)
    assert set(runs.values()) == {2 * PLAN.count("C") * family.branches}
    handle.disable()
    assert torch.equal(sample(pipe), untouched)


class TestForwardsTakenAway:
    """A library that restores what it found long ago takes our part away with it."""

    def restore(self, pipe: Any, place: int) -> None:
        block = [*pipe.transformer.transformer_blocks, *pipe.transformer.single_transformer_blocks][place]
        block.forward = type(block).forward.__get__(block)

    @pytest.mark.parametrize("place", [0, -1], ids=["first block", "last block"])
    def test_between_runs_everything_is_computed_and_said(self, place: int) -> None:
        pipe = flux_pipeline()
        untouched = sample_flux(pipe)
        handle = accelerate(pipe, **OPTIONS).enable()
        self.restore(pipe, place)
        with pytest.warns(PadecastWarning, match="another library restored their forwards"):
            assert torch.equal(sample_flux(pipe), untouched)
        assert handle.report.plan == "C" * len(PLAN)
        assert "another library restored their forwards" in str(handle.report)
        handle.disable()
        assert torch.equal(sample_flux(pipe), untouched)

    def test_in_the_middle_of_a_run_is_an_error(self) -> None:
        pipe = flux_pipeline()

        def restore(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if step == 1:
                self.restore(pipe, -1)
            return tensors

        with accelerate(pipe, **OPTIONS), pytest.raises(FeatureChanged, match="in the middle of a run"):
            sample_flux(pipe, callback_on_step_end=restore)


def test_a_cache_of_diffusers_on_the_model_is_refused_and_nothing_is_left() -> None:
    pipe = flux_pipeline()
    uncached = sample_flux(pipe)
    pipe.transformer.enable_cache(FirstBlockCacheConfig(threshold=0.2))
    words = r"FirstBlockCache is on this FluxTransformer2DModel.*\n.*disable_cache\(\)"
    with pytest.raises(InvalidOption, match=words), accelerate(pipe, **OPTIONS):
        sample_flux(pipe)
    pipe.transformer.disable_cache()
    assert torch.equal(sample_flux(pipe), uncached)
    with accelerate(pipe, "none") as run:
        assert torch.equal(sample_flux(pipe), uncached)
    assert run.report.forecast == 0
