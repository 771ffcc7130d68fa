"""A transformer without a pipeline: its distinct timesteps are counted, or its cache context says where it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from tests.tiny import PLAN, STEPS, dit, wan
from torch import Tensor

from padecast import Handle, InvalidOption, PadecastWarning, accelerate
from padecast.forecasters import Lagrange, Reuse
from padecast.policies import Always, Interval, Plan

TIMES = tuple(torch.linspace(980, 20, STEPS).tolist())
SAMPLES = torch.randn(2 * STEPS, 1, 4, 8, 8, generator=torch.Generator().manual_seed(0))


class Bare:
    """A DiT called by hand, with another input at every timestep."""

    def __init__(self) -> None:
        self.model = dit()

    def call(self, time: float, x: Tensor = SAMPLES[0], label: int = 3) -> Tensor:
        with torch.no_grad():
            return self.model(x, timestep=torch.tensor([time]), class_labels=torch.tensor([label])).sample

    def walk(self, times: Sequence[float] = TIMES, labels: Sequence[int] = (3,)) -> Tensor:
        return torch.stack([self.call(t, x, n) for t, x in zip(times, SAMPLES, strict=False) for n in labels])

    def on(self, plan: str = PLAN, **options: Any) -> Handle:
        return accelerate(self.model, **{"policy": Plan(plan), "forecaster": Lagrange(), **options})


@pytest.fixture
def bare() -> Bare:
    return Bare()


@pytest.fixture
def fresh(bare: Bare) -> Iterator[Tensor]:
    """What a run gives that nothing came before."""
    with bare.on():
        return bare.walk()


def test_the_length_must_be_known(bare: Bare) -> None:
    with pytest.raises(InvalidOption, match=r"does not say how many steps.*\n.*steps=20"):
        accelerate(bare.model, "tc-pade").enable()
    with accelerate(bare.model, "tc-pade:every=3", steps=STEPS) as run:
        bare.walk()
    assert run.report.plan == "C.C..C.C"


def test_distinct_timesteps_are_counted(bare: Bare) -> None:
    untouched = bare.walk(labels=(3, 1000))
    with bare.on() as run:
        forecast = bare.walk(labels=(3, 1000))
    assert run.report.plan == PLAN
    assert run.report.branches == ("call 1", "call 2")
    computed = torch.tensor([letter == "C" for letter in PLAN for _ in range(2)])
    assert torch.equal(forecast[computed], untouched[computed])
    assert all(not torch.equal(a, b) for a, b in zip(forecast[~computed], untouched[~computed], strict=True))


def test_a_timestep_that_jumps_back_begins_a_run(bare: Bare, fresh: Tensor) -> None:
    with bare.on() as run:
        for stop in (STEPS, 5, 2, STEPS):
            bare.walk(TIMES[:stop])
        assert torch.equal(bare.walk(), fresh)
    assert run.report.plan == PLAN


def test_steps_beyond_the_last_are_computed(bare: Bare) -> None:
    untouched = bare.walk()
    with bare.on("C...") as run:
        longer = bare.walk()
    assert torch.equal(longer[4:], untouched[4:])
    assert (run.report.plan, run.report.unplaced) == ("C...", STEPS - 4)


@pytest.mark.parametrize("times", [TIMES, TIMES[::-1]], ids=["falling", "rising"])
def test_the_direction_of_time_is_learnt(bare: Bare, times: tuple[float, ...]) -> None:
    with bare.on("C......."):
        for _ in range(2):
            got = bare.walk(times)
    with bare.on("C.......") as run:
        bare.walk(times)
        assert torch.equal(bare.walk(times), got)
        assert run.report.plan == "C......."


def test_a_first_run_in_the_other_direction_is_computed_until_that_is_certain(bare: Bare) -> None:
    untouched = bare.walk(TIMES[::-1])
    with bare.on("C.......") as run:
        got = bare.walk(TIMES[::-1])
    assert run.report.plan == "  C....."
    assert torch.equal(got[:3], untouched[:3])


class TestAfterOneStep:
    """One call, and then a run that it does not belong to: it must not be forecast from."""

    def test_at_the_same_timestep_with_another_input(self, bare: Bare) -> None:
        untouched = bare.walk()
        with bare.on("C.......") as run:
            bare.call(TIMES[0], SAMPLES[-1])
            got = bare.walk()
        assert run.report.plan == " C......"  # what might have been a second branch is not learnt from
        assert torch.equal(got[:2], untouched[:2])

    def test_at_a_lower_timestep(self, bare: Bare) -> None:
        untouched = bare.walk()
        with bare.on("C.......") as run:
            bare.call(20.0, SAMPLES[-1])
            got = bare.walk()
        assert run.report.plan == " C......"
        assert torch.equal(got[:2], untouched[:2])

    def test_after_a_reset_by_hand(self, bare: Bare, fresh: Tensor) -> None:
        with bare.on() as run:
            bare.call(TIMES[0], SAMPLES[-1])
            run.reset()
            assert torch.equal(bare.walk(), fresh)

    def test_once_the_direction_is_known_nothing_is_lost(self, bare: Bare, fresh: Tensor) -> None:
        with bare.on() as run:
            bare.walk()
            bare.call(TIMES[3], SAMPLES[-1])
            bare.call(TIMES[4], SAMPLES[-1])
            assert torch.equal(bare.walk(), fresh)
        assert run.report.plan == PLAN


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("step", [0, 1, 4])
@pytest.mark.parametrize("thread", ["here", "elsewhere"])
def test_an_error_inside_the_model_ends_the_run(bare: Bare, fresh: Tensor, step: int, error: Any, thread: str) -> None:
    left = iter(range(step))

    def fail(*_: Any) -> None:
        if next(left, None) is None:
            raise error

    with bare.on() as run:
        hook = bare.model.transformer_blocks[1].register_forward_pre_hook(fail)
        with pytest.raises(error), ThreadPoolExecutor(1) as pool:
            bare.walk() if thread == "here" else pool.submit(bare.walk).result()
        hook.remove()
        assert torch.equal(bare.walk(), fresh)
    assert run.report.plan == PLAN


def test_a_warning_that_is_an_error_ends_the_run_before(bare: Bare) -> None:
    with bare.on(policy=Interval(every=2), forecaster=Reuse(), steps=2) as run:
        with pytest.raises(PadecastWarning):  # at the last step; warnings are errors in these tests
            bare.walk(TIMES[:2])
        bare.walk(TIMES[:2])
        assert len(run.report.steps) == 2


def conditioned(step: int, branch: int) -> Tensor:
    """The input of a branch whose conditioning image is part of the sample, which changes slowly."""
    return SAMPLES[branch] + 0.05 * SAMPLES[2 : 2 + step].sum(0)


def test_branches_whose_inputs_differ_do_not_mix(bare: Bare) -> None:
    def walk(*branches: int) -> list[Tensor]:
        return [bare.call(t, conditioned(step, branch)) for step, t in enumerate(TIMES) for branch in branches]

    with bare.on("CC..C..C") as run:
        both = walk(0, 1)
    assert run.report.plan == " C..C..C"
    for branch in range(2):
        with bare.on("CC..C..C"):
            bare.call(TIMES[0], conditioned(0, branch))
            bare.call(TIMES[0], conditioned(0, branch) + 1)  # as unclear a beginning
            alone = [bare.call(t, conditioned(step, branch)) for step, t in enumerate(TIMES) if step]
        assert all(torch.equal(a, b) for a, b in zip(both[branch + 2 :: 2], alone, strict=True))


def test_branches_whose_inputs_differ_are_known_in_any_order(bare: Bare) -> None:
    def walk(orders: Sequence[tuple[int, ...]]) -> dict[tuple[int, int], Tensor]:
        return {
            (step, branch): bare.call(TIMES[step], conditioned(step, branch))
            for step, order in enumerate(orders)
            for branch in order
        }

    with bare.on("CC..C..C"):
        steady = walk([(0, 1)] * STEPS)
    with bare.on("CC..C..C"):
        turned = walk([(0, 1), (0, 1), (1, 0), (0, 1), (1, 0), (1, 0), (0, 1), (1, 0)])
    assert all(torch.equal(turned[key], steady[key]) for key in steady)


def test_windows_that_move_are_computed(bare: Bare) -> None:
    """Latents of another place of the video under the same conditioning: nothing tells whose history is theirs."""
    video = torch.randn(1, 4, 8, 8 * STEPS, generator=torch.Generator().manual_seed(5))

    def walk() -> list[Tensor]:
        windows = [video[..., 3 * step + shift :][..., :8] for step in range(STEPS) for shift in (0, 20)]
        return [bare.call(TIMES[number // 2], window) for number, window in enumerate(windows)]

    untouched = walk()
    with pytest.warns(PadecastWarning, match="conditioned alike"), bare.on("CC..C..C") as run:
        windows = walk()
    assert all(torch.equal(a, b) for a, b in zip(windows, untouched, strict=True))
    assert "name the calls" in str(run.report)


def test_repeated_timesteps_of_a_second_order_solver_are_branches(bare: Bare) -> None:
    """Without a scheduler both evaluations at one timestep are one step with two branches: never wrong."""
    times = [900.0, 700.0, 700.0, 500.0, 500.0, 300.0]

    def walk() -> list[Tensor]:
        return [bare.call(t, conditioned(step, 0)) for step, t in enumerate(times)]

    untouched = walk()
    with bare.on("C...") as run:
        forecast = walk()
    assert run.report.plan == "C..."
    assert torch.equal(forecast[2], untouched[2])
    assert run.report.notes == {"step 1, call 2": "computed because nothing was remembered for this branch"}


class TestWhatTheContextSays:
    def walk(self, model: Any, indices: Sequence[int], total: int | None = STEPS, name: str = "cond") -> list[Tensor]:
        text = torch.ones(1, 6, 8)
        video = torch.randn(STEPS, 1, 4, 1, 4, 4, generator=torch.Generator().manual_seed(1))
        outputs = []
        for index in indices:
            details = {} if total is None else {"num_inference_steps": total}
            with torch.no_grad(), model.cache_context(name, step_index=index, **details):
                outputs.append(model(video[index], torch.tensor([500]), text).sample)
        return outputs

    def test_its_step_index_is_honoured(self) -> None:
        model = wan()
        with accelerate(model, policy=Plan(PLAN), forecaster=Reuse()) as run:
            for _ in range(2):
                self.walk(model, range(STEPS))
                assert run.report.plan == PLAN

    def test_so_is_its_length(self) -> None:
        model = wan()
        with accelerate(model, policy=Interval(every=3), forecaster=Reuse(), steps=50) as run:
            self.walk(model, range(STEPS))
        assert run.report.plan == "C..C..CC"

    def test_a_run_from_the_middle(self) -> None:
        model = wan()
        with accelerate(model, policy=Plan(PLAN), forecaster=Reuse()) as run:
            self.walk(model, range(3, STEPS))
        assert run.report.plan == "   CC..C"

    def test_a_branch_that_begins_again_begins_a_run(self) -> None:
        model = wan()
        with accelerate(model, policy=Plan("C......."), forecaster=Reuse()):
            expected = self.walk(model, range(4))
        with accelerate(model, policy=Plan("C......."), forecaster=Reuse()) as run:
            self.walk(model, [0], name="uncond")
            self.walk(model, [0])
            assert all(torch.equal(a, b) for a, b in zip(self.walk(model, range(4)), expected, strict=True))
        assert run.report.notes == {}

    def test_an_index_outside_the_schedule_is_computed(self) -> None:
        model = wan()
        untouched = self.walk(model, [5])
        with accelerate(model, policy=Plan("C..."), forecaster=Reuse()) as run:
            self.walk(model, range(4), total=4)
            assert torch.equal(self.walk(model, [5], total=4)[0], untouched[0])
        assert (run.report.plan, run.report.unplaced) == ("C...", 1)


def test_all_steps_computed(bare: Bare) -> None:
    untouched = bare.walk(labels=(3, 1000))
    with bare.on(policy=Always(), steps=STEPS):
        assert torch.equal(bare.walk(labels=(3, 1000)), untouched)
