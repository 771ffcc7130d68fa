"""Only the accelerated pipeline is touched, whatever it shares with others."""

from __future__ import annotations

import copy
from itertools import permutations
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FluxImg2ImgPipeline, FluxPipeline
from tests.representative import representative
from tests.tiny import PLAN, Loop, dit, flux_pipeline, footprint, loop, quiet, sample_flux
from torch import Tensor

from padecast import Handle, accelerate
from padecast.forecasters import Lagrange, Reuse
from padecast.policies import Plan

DRAWN = Plan(PLAN)


def another(pipe: Any, kind: Any = FluxPipeline, **parts: Any) -> Any:
    return quiet(kind.from_pipe(pipe, **parts))


def image_to_image(pipe: Any) -> Tensor:
    picture = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(6))
    return sample_flux(pipe, image=picture, strength=0.5)


def test_two_pipelines_of_one_class() -> None:
    one, two = flux_pipeline(), flux_pipeline()
    untouched = sample_flux(two)
    with accelerate(one, policy=DRAWN, forecaster=Reuse()) as run:
        assert torch.equal(sample_flux(two), untouched)
        assert str(run.report) == "no step was run yet with this attachment"
        assert not torch.equal(sample_flux(one), untouched)


class TestOneTransformerAndOneScheduler:
    def test_only_the_accelerated_one_is_affected(self) -> None:
        one = flux_pipeline()
        two, three = another(one), another(one, FluxImg2ImgPipeline)
        assert two.transformer is three.transformer is one.transformer
        assert two.scheduler is one.scheduler
        untouched, middle = sample_flux(two), image_to_image(three)
        with accelerate(one, policy=DRAWN, forecaster=Reuse()) as run:
            for _ in range(2):
                assert not torch.equal(sample_flux(one), untouched)
                assert run.report.plan == PLAN
                assert torch.equal(sample_flux(two), untouched)
                assert torch.equal(image_to_image(three), middle)

    @pytest.mark.parametrize(
        "order", representative([(order,) for order in permutations(range(3))], ["(0, 1, 2)", "(2, 0, 1)"]), ids=str
    )
    def test_all_accelerated_and_switched_off_in_any_order(self, order: tuple[int, ...]) -> None:
        first = loop()
        pipes = [first, *(Loop(first.transformer, first.scheduler) for _ in range(2))]
        untouched, before = first(), footprint(first.transformer)
        plans = [Plan("CC..C..C"), Plan("C.C.C.C."), Plan("C......C")]
        alone = []
        for pipe, plan in zip(pipes, plans, strict=True):
            with accelerate(pipe, policy=plan, forecaster=Lagrange()):
                alone.append(pipe())
        handles = [
            accelerate(p, policy=plan, forecaster=Lagrange()).enable() for p, plan in zip(pipes, plans, strict=True)
        ]
        for leaving in order:
            for pipe, handle, expected in zip(pipes, handles, alone, strict=True):
                assert torch.equal(pipe(), expected if handle.enabled else untouched)
            handles[leaving].disable()
        assert footprint(first.transformer) == before
        assert torch.equal(first(), untouched)

    @pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
    def test_spans_and_contexts_are_given_back_in_any_order(self, order: tuple[int, ...]) -> None:
        first = flux_pipeline()
        before = footprint(first.transformer)
        handles = [
            accelerate(pipe, policy=DRAWN, forecaster=Reuse(), span=span).enable()
            for pipe, span in ((first, "full"), (another(first), "double"), (another(first), "single"))
        ]
        for leaving in order:
            handles[leaving].disable()
        assert footprint(first.transformer) == before
        with first.transformer.cache_context("cond"):
            pass

    def test_one_run_inside_another(self) -> None:
        """A callback that samples with a second pipeline of the same transformer."""
        one = flux_pipeline()
        two = another(one, scheduler=copy.deepcopy(one.scheduler))
        untouched = sample_flux(two)
        inner: list[Tensor] = []

        def sample_inside(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            inner.append(sample_flux(two))
            return tensors

        with accelerate(one, policy=DRAWN, forecaster=Lagrange()) as run:
            expected = sample_flux(one)
            assert torch.equal(sample_flux(one, callback_on_step_end=sample_inside), expected)
            assert run.report.plan == PLAN
        assert all(torch.equal(image, untouched) for image in inner)


@pytest.mark.parametrize("abandoned_after", [None, 1, 4])
def test_one_transformer_and_schedulers_that_look_alike(abandoned_after: int | None) -> None:
    """Without a step index another pipeline's timesteps fit the grid of ours, also one that was left in the middle."""
    model = dit()
    one, two = Loop(model, DDIMScheduler()), Loop(model, DDIMScheduler())
    untouched = two()
    with accelerate(one, policy=DRAWN, forecaster=Reuse()) as run:
        forecast = one()

        def leave(step: int) -> None:
            if step == abandoned_after:
                raise InterruptedError

        if abandoned_after is not None:
            with pytest.raises(InterruptedError):
                one(between=leave)
        assert torch.equal(two(), untouched)
        assert torch.equal(one(), forecast)
        assert run.report.unplaced == 0


@pytest.mark.parametrize("calls", [1, 5], ids=["computed step", "forecast step"])
@pytest.mark.parametrize("part", ["pos_embed", "transformer_blocks.1"])
def test_an_interrupt_in_the_model_leaves_nothing_to_another_pipeline(part: str, calls: int) -> None:
    one = loop()
    two, left = Loop(one.transformer, copy.deepcopy(one.scheduler)), iter(range(calls))

    def interrupt(*_: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    untouched = two()
    with accelerate(one, policy=DRAWN, forecaster=Reuse()):
        forecast = one()
        hook = one.transformer.get_submodule(part).register_forward_pre_hook(interrupt)
        with pytest.raises(KeyboardInterrupt):
            one()
        hook.remove()
        assert torch.equal(two(), untouched)
        assert torch.equal(one(), forecast)


def test_a_loop_by_hand_with_another_scheduler_is_left_alone() -> None:
    pipe = loop()
    other = copy.deepcopy(pipe.scheduler)

    def by_hand() -> Tensor:
        other.set_timesteps(len(PLAN))
        x = torch.ones(1, 4, 8, 8)
        for t in other.timesteps:
            with torch.no_grad():
                guess = pipe.transformer(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
            x = other.step(guess, t, x).prev_sample
        return x

    untouched = by_hand()
    with accelerate(pipe, policy=DRAWN, forecaster=Reuse()):
        pipe()
        assert torch.equal(by_hand(), untouched)


class TestCopies:
    def test_a_copied_transformer_is_not_accelerated(self) -> None:
        pipe = flux_pipeline()
        untouched = sample_flux(pipe)
        with accelerate(pipe, policy=DRAWN, forecaster=Reuse()) as run:
            forecast = sample_flux(pipe)
            plain = flux_pipeline(transformer=copy.deepcopy(pipe.transformer))
            assert torch.equal(sample_flux(plain), untouched)
            assert torch.equal(sample_flux(pipe), forecast)
            assert run.report.plan == PLAN
        assert torch.equal(sample_flux(plain), untouched)

    def test_a_copy_has_its_own_cache_context(self) -> None:
        pipe = flux_pipeline()
        with accelerate(pipe, policy=DRAWN, forecaster=Reuse()):
            copied = copy.deepcopy(pipe.transformer)
        assert copied.cache_context.__self__ is copied

    def test_a_copied_pipeline_can_be_accelerated_by_itself(self) -> None:
        pipe = flux_pipeline()
        with accelerate(pipe, policy=DRAWN, forecaster=Reuse()):
            forecast = sample_flux(pipe)
            second = flux_pipeline(transformer=copy.deepcopy(pipe.transformer))
            with accelerate(second, policy=DRAWN, forecaster=Reuse()) as run:
                assert torch.equal(sample_flux(second), forecast)
            assert run.report.plan == PLAN


def test_the_class_is_never_touched() -> None:
    pipe = flux_pipeline()
    kinds = {type(module) for module in pipe.transformer.modules()}
    before = {kind: dict(vars(kind)) for kind in kinds}
    handle: Handle = accelerate(pipe, policy=DRAWN, forecaster=Reuse()).enable()
    sample_flux(pipe)
    assert {kind: dict(vars(kind)) for kind in kinds} == before
    handle.disable()
