"""Whatever happened before, the next run is what it would have been on a fresh pipeline."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline
from tests.representative import representative
from tests.tiny import (
    FAMILIES,
    PLAN,
    Family,
    blocks,
    dit_pipeline,
    flux_pipeline,
    loop,
    sample_dit,
    sample_flux,
    sample_wan,
    wan_pipeline,
)
from torch import Tensor, nn

from padecast import accelerate
from padecast.forecasters import Lagrange, Reuse
from padecast.policies import Always, Interval, Plan


class Stop(Exception):
    pass


def fail_after(count: int, error: type[BaseException]) -> Callable[..., dict[str, Any]]:
    """A callback or hook that works so many times, and then raises."""
    calls = iter(range(count))

    def fail(*_: Any, **__: Any) -> dict[str, Any]:
        if next(calls, None) is None:
            raise error
        return {}

    return fail


@contextlib.contextmanager
def failing_module(module: nn.Module, fail: Callable[..., Any]) -> Iterator[None]:
    hook = module.register_forward_pre_hook(lambda *_: fail() or None)
    try:
        yield
    finally:
        hook.remove()


def failing_embedding(pipe: Any, fail: Callable[..., Any]) -> contextlib.AbstractContextManager[None]:
    return failing_module(next(pipe.transformer.children()), fail)


def failing_block(pipe: Any, fail: Callable[..., Any]) -> contextlib.AbstractContextManager[None]:
    return failing_module(next(iter(blocks(pipe.transformer).values()))[1], fail)


@contextlib.contextmanager
def failing_scheduler(pipe: Any, fail: Callable[..., Any]) -> Iterator[None]:
    step = pipe.scheduler.step
    pipe.scheduler.step = lambda *args, **kwargs: (fail(), step(*args, **kwargs))[1]
    try:
        yield
    finally:
        del pipe.scheduler.step


FAILING = (
    (failing_embedding, KeyboardInterrupt),
    (failing_block, KeyboardInterrupt),
    (failing_block, Stop),
    (failing_scheduler, KeyboardInterrupt),
)


@pytest.mark.parametrize(
    ("family", "failing", "error"),
    [(FAMILIES[0], *how) for how in FAILING]
    + [(family, failing_block, KeyboardInterrupt) for family in FAMILIES[1:]]
    + [
        pytest.param(family, *how, marks=pytest.mark.slow)
        for family in FAMILIES[1:]
        for how in FAILING
        if how != (failing_block, KeyboardInterrupt)
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_after_an_error_the_next_run_is_that_of_a_fresh_pipeline(family: Family, failing: Any, error: Any) -> None:
    pipe = family.make()
    untouched = family.sample(pipe)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
        expected = family.sample(pipe)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        for calls in (1, 4):
            with failing(pipe, fail_after(calls, error)), pytest.raises(error):
                family.sample(pipe)
            assert torch.equal(family.sample(pipe), expected)
            assert run.report.plan == PLAN
        with failing(pipe, fail_after(2, error)), pytest.raises(error):
            family.sample(pipe)
    assert torch.equal(family.sample(pipe), untouched)


@pytest.mark.parametrize("family", representative(FAMILIES[1:], ["wan"]), ids=str)
@pytest.mark.parametrize("steps_before", [1, 3])
class TestCallbacks:
    def test_an_error_in_a_callback(self, family: Family, steps_before: int) -> None:
        pipe = family.make()
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
            expected = family.sample(pipe)
            with pytest.raises(Stop):
                family.sample(pipe, callback_on_step_end=fail_after(steps_before, Stop))
            assert run.report.plan == PLAN[: steps_before + 1].rstrip()
            assert torch.equal(family.sample(pipe), expected)

    def test_an_interrupt_asked_for_by_a_callback(self, family: Family, steps_before: int) -> None:
        pipe = family.make()

        def interrupt(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            pipe._interrupt = step + 1 == steps_before
            return tensors

        with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
            expected = family.sample(pipe)
            assert not torch.equal(family.sample(pipe, callback_on_step_end=interrupt), expected)
            assert run.report.plan == PLAN[:steps_before]
            assert torch.equal(family.sample(pipe), expected)

    def test_switching_off_and_on_in_the_middle(self, family: Family, steps_before: int) -> None:
        pipe = family.make()
        handle = accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange())

        def switch(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if step + 1 == steps_before:
                handle.disable() if handle.enabled else handle.enable()
            return tensors

        handle.enable()
        expected = family.sample(pipe)
        family.sample(pipe, callback_on_step_end=switch)
        assert handle.report.plan == PLAN[:steps_before]
        family.sample(pipe, callback_on_step_end=switch)
        place = " " * steps_before
        assert handle.report.plan == place + "C" + PLAN[steps_before + 1 :]
        assert torch.equal(family.sample(pipe), expected)
        handle.disable()


CHANGES: dict[str, tuple[Callable[..., Any], Callable[..., Tensor], list[dict[str, Any]]]] = {
    "steps": (wan_pipeline, sample_wan, [{}, {"steps": 12}, {"steps": 5}, {}]),
    "size": (flux_pipeline, sample_flux, [{}, {"size": 24}, {}, {"size": 32}]),
    "video size": (wan_pipeline, sample_wan, [{}, {"size": 48}, {"num_frames": 9}, {}]),
    "batch": (dit_pipeline, sample_dit, [{}, {"labels": (1,)}, {"labels": (1, 2, 3)}, {}]),
    "batched guidance": (dit_pipeline, sample_dit, [{}, {"guidance_scale": 1.0}, {}]),
    "guidance": (flux_pipeline, sample_flux, [{}, {"true_cfg_scale": 1.0}, {}]),
    "seed": (flux_pipeline, sample_flux, [{}, {"seed": 4}, {"seed": 5}]),
}


@pytest.mark.parametrize("change", representative(CHANGES, ["size", "batched guidance"]))
def test_changes_between_runs_need_nothing(change: str) -> None:
    make, sample, settings = CHANGES[change]
    pipe = make()
    with accelerate(pipe, policy=Interval(every=3), forecaster=Lagrange()):
        in_turn = [sample(pipe, **options) for options in settings]
    for options, got in zip(settings, in_turn, strict=True):
        with accelerate(pipe, policy=Interval(every=3), forecaster=Lagrange()):
            assert torch.equal(sample(pipe, **options), got)
    with accelerate(pipe, policy=Always(), forecaster=Lagrange()):
        in_turn = [sample(pipe, **options) for options in settings]
    assert all(torch.equal(sample(pipe, **options), got) for options, got in zip(settings, in_turn, strict=True))


def crop(pipe: Any) -> None:
    """Sample with a picture that is cut at the fourth step, as by a callback."""
    x = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(0))
    pipe.scheduler.set_timesteps(6)
    for step, t in enumerate(pipe.scheduler.timesteps):
        x = x[:, :9] if step == 3 else x
        ids = {"img_ids": torch.zeros(x.shape[1], 3), "txt_ids": torch.zeros(5, 3)}
        with torch.no_grad():
            guess = pipe.transformer(x, torch.ones(1, 5, 8), torch.ones(1, 8), t.expand(1) / 1000, **ids).sample
        x = pipe.scheduler.step(guess, t, x).prev_sample


class Cropping(FluxPipeline):
    def crop(self) -> None:
        crop(self)


def test_features_that_change_within_a_run_are_computed() -> None:
    """What is remembered does not fit any more; the positions are others, and so is the branch."""
    pipe = flux_pipeline(Cropping)
    with accelerate(pipe, policy=Plan("CC...C"), forecaster=Reuse()) as run:
        pipe.crop()
    assert run.report.plan == "CC.C.C"
    assert run.report.notes == {"step 3, call 2": "computed because nothing was remembered for this branch"}


def test_a_call_by_hand_with_other_features_is_taken_for_the_runs_once_the_scheduler_moves_on() -> None:
    pipe = flux_pipeline()
    with accelerate(pipe, policy=Plan("CC...C"), forecaster=Reuse()) as run:
        crop(pipe)
    assert (run.report.plan, run.report.unplaced) == ("CC. CC", 1)


@pytest.mark.parametrize("step", range(3))
def test_a_run_that_was_left_does_not_count_as_branches(step: int) -> None:
    pipe = loop()

    def leave(at: int) -> None:
        if at == step:
            raise Stop

    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        expected = pipe()
        with pytest.raises(Stop):
            pipe(between=leave)
        assert torch.equal(pipe(), expected)
        assert run.report.branches == ("call 1", "call 2")
        assert run.report.notes == {}


def test_a_dtype_that_changes_between_runs() -> None:
    pipe = dit_pipeline()
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        single = sample_dit(pipe)
        pipe.to(dtype=torch.bfloat16)
        half, bytes_of_half = sample_dit(pipe), run.report.history_bytes
        assert (run.report.plan, run.report.notes) == (PLAN, {})
        pipe.to(dtype=torch.float32)
        sample_dit(pipe)
        assert run.report.history_bytes == 2 * bytes_of_half
    assert half.dtype == torch.bfloat16
    assert single.dtype == torch.float32


def test_enabling_after_a_run_without_it() -> None:
    for family in FAMILIES:
        pipe, fresh = family.make(), family.make()
        family.sample(pipe)
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
            warmed = family.sample(pipe)
        assert run.report.plan == PLAN
        with accelerate(fresh, policy=Plan(PLAN), forecaster=Lagrange()):
            assert torch.equal(family.sample(fresh), warmed)


def test_a_run_that_goes_back_in_one_schedule_begins_anew() -> None:
    """The same grid, walked through twice, as by a loop that refines its own result."""
    pipe = loop()
    with torch.no_grad(), accelerate(pipe, policy=Plan(PLAN), forecaster=Reuse()) as run:
        pipe.scheduler.set_timesteps(len(PLAN))
        walks = []
        for _ in range(2):
            outputs = []
            for t in pipe.scheduler.timesteps:
                call = pipe.transformer(torch.ones(1, 4, 8, 8), timestep=t.expand(1), class_labels=torch.tensor([3]))
                outputs.append(call.sample)
            assert run.report.plan == PLAN
            walks.append(torch.cat(outputs))
    assert torch.equal(*walks)
