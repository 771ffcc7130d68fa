"""A session around one model's stack: contexts, hooks and blocks; whole runs are in tests/runs."""

from __future__ import annotations

import weakref
from typing import Any

import pytest
import torch
from diffusers.hooks.hooks import HookRegistry
from diffusers.hooks.hooks import ModelHook as DiffusersHook
from tests.tiny import PLAN, flux_pipeline, sample_flux, sample_wan, wan, wan_pipeline
from torch import Tensor, nn

from padecast import UnsupportedModel, accelerate
from padecast.forecasters import Lagrange, Reuse
from padecast.hooks.blocks.blocks import Block
from padecast.policies import Plan
from padecast.targets import HIDDEN, IMAGE_TEXT, TEXT_IMAGE

DRAWN: dict[str, Any] = {"policy": Plan(PLAN), "forecaster": Lagrange()}


class Cross(nn.Module):
    def forward(self, hidden_states: Tensor, encoder_hidden_states: Tensor, temb: Tensor | None = None) -> Any:
        raise NotImplementedError


class TestBlock:
    X, Y, T = torch.zeros(1), torch.ones(1), torch.full((1,), 2.0)

    @pytest.mark.parametrize(
        ("args", "kwargs"),
        [
            ((X, Y, T), {}),
            ((X,), {"encoder_hidden_states": Y}),
            ((), {"temb": T, "encoder_hidden_states": Y, "hidden_states": X}),
        ],
    )
    def test_arguments_by_place_and_by_name(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        block = Block(Cross(), TEXT_IMAGE)
        assert block.argument("hidden_states", args, kwargs) is self.X
        assert block.argument("encoder_hidden_states", args, kwargs) is self.Y
        assert block.pass_through(args, kwargs, {}) == (self.Y, self.X)
        assert block.pass_through(args, kwargs, {"hidden_states": self.T}) == (self.Y, self.T)

    def test_orders_of_outputs(self) -> None:
        assert Block(Cross(), IMAGE_TEXT).pass_through((self.X, self.Y), {}, {}) == (self.X, self.Y)
        assert Block(Cross(), HIDDEN).pass_through((self.X, self.Y), {}, {}) is self.X
        assert Block(Cross(), IMAGE_TEXT).streams((self.X, self.Y), ("encoder_hidden_states",)) == (self.Y,)
        assert Block(Cross(), HIDDEN).streams(self.X, ("hidden_states",)) == (self.X,)
        assert Block(Cross(), TEXT_IMAGE).exchange((self.Y, self.X), {"hidden_states": self.T}) == (self.Y, self.T)
        assert Block(Cross(), HIDDEN).exchange(self.X, {"hidden_states": self.T}) is self.T

    def test_the_signature_is_that_of_the_class(self) -> None:
        module = Cross()
        module.forward = lambda *args, **kwargs: None
        assert Block(module, HIDDEN).parameters == ("hidden_states", "encoder_hidden_states", "temb")

    def test_a_block_that_does_not_fit_its_description(self) -> None:
        with pytest.raises(
            UnsupportedModel, match=r"blocks of class Linear take input, not 'hidden_states'.\n.*register"
        ):
            Block(nn.Linear(2, 2), HIDDEN)


def test_the_stacks_input_is_not_kept_alive_while_its_blocks_run() -> None:
    """Its copy lies in the slot of the residual to come: memory over an uncached run is the declared history alone."""
    pipe, inputs, kept = flux_pipeline(), [], []

    def given(_: Any, args: Any, kwargs: Any) -> None:
        inputs.append(weakref.ref(kwargs["hidden_states"]))

    first, second = pipe.transformer.transformer_blocks
    hooks = [
        first.register_forward_pre_hook(given, with_kwargs=True),
        second.attn.register_forward_pre_hook(lambda *_: kept.append(inputs[-1]() is not None)),
    ]
    try:
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
            sample_flux(pipe)
    finally:
        for hook in hooks:
            hook.remove()
    assert len(kept) >= PLAN.count("C") and not any(kept)


class TestBranchesThatPipelinesName:
    def test_it_still_reaches_the_hooks_of_others(self) -> None:
        pipe, seen = wan_pipeline(), []

        class Listening(DiffusersHook):
            def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
                seen.append(module.__class__.__name__)
                return args, kwargs

        HookRegistry.check_if_exists_or_initialize(pipe.transformer.blocks[0]).register_hook(Listening(), "listening")
        with accelerate(pipe, **DRAWN) as run:
            expected = sample_wan(pipe)
        assert run.report.plan == PLAN
        assert len(seen) == 2 * PLAN.count("C")  # it was there before us, and so runs with the block
        with accelerate(pipe, **DRAWN):
            assert torch.equal(sample_wan(pipe), expected)

    def test_nested_contexts(self) -> None:
        model = wan()
        with accelerate(model, **DRAWN) as run, torch.no_grad():
            for step in range(len(PLAN)):
                with model.cache_context("outer", step_index=step):
                    with model.cache_context("inner", step_index=step):
                        call(model)
                    call(model)
        assert run.report.plan == PLAN
        assert run.report.branches == ("inner", "outer")

    def test_a_context_object_in_place_of_a_name(self) -> None:
        from diffusers.hooks.hooks import CacheContext

        model = wan()
        with accelerate(model, **DRAWN) as run, torch.no_grad():
            for step in range(len(PLAN)):
                with model.cache_context(CacheContext("cond", step_index=step)):
                    call(model)
        assert run.report.plan == PLAN
        assert run.report.branches == ("cond",)

    def test_an_error_inside_closes_it(self) -> None:
        model = wan()
        with accelerate(model, **DRAWN) as run, torch.no_grad():
            with pytest.raises(ZeroDivisionError), model.cache_context("lost", step_index=5):
                raise ZeroDivisionError
            call(model)
        assert run.report.branches == ("call 1",)
        assert run.report.plan == "C"


def call(model: Any) -> Tensor:
    return model(torch.ones(1, 4, 1, 4, 4), torch.tensor([500]), torch.ones(1, 6, 8)).sample


class TestRuns:
    def test_a_hook_of_the_user_on_a_block_sees_what_goes_on(self) -> None:
        pipe, seen = flux_pipeline(), []
        last = pipe.transformer.single_transformer_blocks[-1]
        hook = last.register_forward_hook(lambda module, args, output: seen.append(output[1]))
        with accelerate(pipe, "none"):
            sample_flux(pipe, 2)
        computed = list(seen)
        seen.clear()
        with accelerate(pipe, policy=Plan("C."), forecaster=Reuse()):
            sample_flux(pipe, 2)
        hook.remove()
        assert torch.equal(seen[0], computed[0])
        assert seen[2].shape == computed[2].shape
        assert not torch.equal(seen[2], computed[2])

    def test_reset_drops_the_run_in_progress(self) -> None:
        pipe = flux_pipeline()
        handle = accelerate(pipe, **DRAWN).enable()

        def reset(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if step == 4:
                handle.reset()
            return tensors

        expected = sample_flux(pipe)
        sample_flux(pipe, callback_on_step_end=reset)
        assert handle.report.plan == "     C.C"
        assert torch.equal(sample_flux(pipe), expected)
        handle.disable()

    def test_seconds_are_counted_for_every_branch(self) -> None:
        pipe = flux_pipeline()
        with accelerate(pipe, **DRAWN) as run:
            sample_flux(pipe)
        assert all(step.seconds > 0 for step in run.report.steps)
        by_kind = {kind: [s.seconds for s in run.report.steps if s.computed is kind] for kind in (True, False)}
        assert min(by_kind[True]) > 0
        assert sorted(by_kind[False])[0] < sorted(by_kind[True])[-1]
