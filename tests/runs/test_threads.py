"""Two threads in one run get an error, not wrong images; two pipelines that share weights may run at once."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, FluxPipeline
from tests.tiny import PLAN, STEPS, dit, flux_pipeline, loop, quiet, sample_flux
from torch import Tensor

from padecast import ConcurrentRun, accelerate
from padecast.forecasters import Lagrange
from padecast.policies import Plan

DRAWN = Plan(PLAN)
PATIENCE = 60  # seconds after which a thread that waits is taken for stuck


class Meeting:
    """Stops a thread at the n-th time it comes by, until it is let go."""

    def __init__(self, at: int) -> None:
        self.at, self.arrived, self.go_on = at, threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> None:
        self.at -= 1
        if self.at == 0:
            self.arrived.set()
            assert self.go_on.wait(PATIENCE)


def outcome(future: Future[Tensor]) -> Any:
    error = future.exception(PATIENCE)
    return type(error) if error is not None else future.result()


@pytest.fixture
def pool() -> Any:
    with ThreadPoolExecutor(2) as pool:
        yield pool


class TestOnePipeline:
    def test_a_second_run_while_the_first_is_between_two_steps(self, pool: ThreadPoolExecutor) -> None:
        pipe, first, second = loop(), Meeting(at=3), Meeting(at=2)
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()) as run:
            expected = pipe()
            one = pool.submit(pipe, between=first)
            assert first.arrived.wait(PATIENCE)
            two = pool.submit(pipe, between=second)
            assert second.arrived.wait(PATIENCE)
            first.go_on.set()
            assert outcome(one) is ConcurrentRun
            second.go_on.set()
            assert outcome(two) is ConcurrentRun
            assert torch.equal(pipe(), expected)
            assert torch.equal(pool.submit(pipe).result(PATIENCE), expected)
        assert run.report.plan == PLAN

    @pytest.mark.parametrize("calls", [1, 4, 7], ids=["first step", "computed step", "forecast step"])
    def test_a_second_run_while_the_first_is_inside_the_model(self, pool: ThreadPoolExecutor, calls: int) -> None:
        pipe, meeting = loop(), Meeting(at=calls)
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()):
            expected = pipe()
            hook = pipe.transformer.transformer_blocks[1].register_forward_pre_hook(meeting)
            one = pool.submit(pipe)
            assert meeting.arrived.wait(PATIENCE)
            with pytest.raises(ConcurrentRun, match=r"two threads.*\n.*lock"):
                pipe()
            meeting.go_on.set()
            assert outcome(one) is ConcurrentRun
            hook.remove()
            assert torch.equal(pipe(), expected)

    def test_switching_off_while_another_thread_is_inside(self, pool: ThreadPoolExecutor) -> None:
        pipe, meeting = loop(), Meeting(at=6)
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()) as run:
            expected = pipe()
            hook = pipe.transformer.transformer_blocks[1].register_forward_pre_hook(meeting)
            one = pool.submit(pipe)
            assert meeting.arrived.wait(PATIENCE)
            with pytest.raises(ConcurrentRun, match="another thread is inside the model"):
                run.disable()
            assert run.enabled
            meeting.go_on.set()
            assert torch.equal(one.result(PATIENCE), expected)
            hook.remove()

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    @pytest.mark.parametrize("where", ["in the model", "between two steps"])
    def test_another_thread_may_go_on_after_an_error(self, pool: ThreadPoolExecutor, error: Any, where: str) -> None:
        pipe, left = loop(), iter(range(5))

        def fail(*_: Any) -> None:
            if next(left, None) is None:
                raise error

        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()):
            expected = pipe()
            if where == "in the model":
                hook = pipe.transformer.transformer_blocks[1].register_forward_pre_hook(fail)
                with pytest.raises(error):
                    pipe()
                hook.remove()
            else:
                with pytest.raises(error):
                    pipe(between=fail)
            assert torch.equal(pool.submit(pipe).result(PATIENCE), expected)

    def test_runs_one_after_another_in_several_threads(self, pool: ThreadPoolExecutor) -> None:
        pipe = loop()
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()):
            expected = pipe()
            for _ in range(2):
                assert torch.equal(pool.submit(pipe).result(PATIENCE), expected)


@torch.no_grad()
def sample_bare(model: Any, between: Callable[[int], None] = lambda i: None, at: float = 980.0) -> Tensor:
    x = torch.ones(1, 4, 8, 8)
    for i, t in enumerate(torch.linspace(at, 20, STEPS)):
        x = x - 0.1 * model(x, timestep=t.expand(1), class_labels=torch.tensor([3])).sample
        between(i)
    return x


class TestARunThatIsOvertaken:
    """A run waits between two steps while another thread samples to the end with the same model."""

    @pytest.mark.parametrize("step", range(1, STEPS))
    @pytest.mark.parametrize("scheduler", [DDIMScheduler, FlowMatchEulerDiscreteScheduler])
    def test_of_a_pipeline(self, pool: ThreadPoolExecutor, scheduler: Any, step: int) -> None:
        pipe, first = loop(scheduler()), Meeting(at=step)
        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()) as run:
            expected = pipe()
            one = pool.submit(pipe, between=first)
            assert first.arrived.wait(PATIENCE)
            assert torch.equal(pipe(), expected)
            first.go_on.set()
            assert outcome(one) in (ConcurrentRun, IndexError)  # a scheduler that counts its steps is at its end
            assert torch.equal(pool.submit(pipe).result(PATIENCE), expected)
        assert run.report.plan == PLAN

    @pytest.mark.parametrize("step", range(1, STEPS))
    def test_of_a_bare_model(self, pool: ThreadPoolExecutor, step: int) -> None:
        model, first = dit(), Meeting(at=step)
        with accelerate(model, policy=DRAWN, forecaster=Lagrange()) as run:
            expected = sample_bare(model)
            one = pool.submit(sample_bare, model, first)
            assert first.arrived.wait(PATIENCE)
            if step == 1:  # the first call of the second run may be another call of the first
                with pytest.raises(ConcurrentRun):
                    sample_bare(model)
            else:
                assert torch.equal(sample_bare(model), expected)
            first.go_on.set()
            assert outcome(one) is ConcurrentRun
            assert torch.equal(pool.submit(sample_bare, model).result(PATIENCE), expected)
        assert run.report.plan == PLAN

    def test_which_is_given_up_leaves_its_thread_free(self, pool: ThreadPoolExecutor) -> None:
        """Where a frame's identity comes again, as in a worker that serves the next request."""
        pipe, first = loop(DDIMScheduler()), Meeting(at=3)

        def give_up(i: int) -> None:
            first(i)
            if i == 2:
                raise RuntimeError

        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()):
            expected = pipe()
            one = pool.submit(pipe, between=give_up)
            assert first.arrived.wait(PATIENCE)
            pipe()
            first.go_on.set()
            assert outcome(one) is RuntimeError
            for _ in range(4):
                assert torch.equal(pool.submit(pipe).result(PATIENCE), expected)


def test_what_an_interrupt_left_in_a_thread_ends_no_run_of_another(pool: ThreadPoolExecutor) -> None:
    """The interrupted thread goes on with another pipeline, while a run of the accelerated one is under way."""
    pipe = loop(DDIMScheduler())
    other = loop(DDIMScheduler(), pipe.transformer)
    for calls in range(1, 2 * STEPS, 3):
        meeting, left = Meeting(at=4), iter(range(calls))

        def fail(*_: Any, left: Any = left) -> None:
            if next(left, None) is None:
                raise KeyboardInterrupt

        with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()) as run:
            expected = pipe()
            hook = pipe.transformer.proj_out_2.register_forward_pre_hook(fail)
            with pytest.raises(KeyboardInterrupt):
                pipe()
            hook.remove()
            one = pool.submit(pipe, between=meeting)
            assert meeting.arrived.wait(PATIENCE)
            other()
            meeting.go_on.set()
            assert torch.equal(one.result(PATIENCE), expected)
            assert run.report.plan == PLAN


class TestPipelinesThatShareWeights:
    """One guided run, and one of twice as many steps without guidance: as many calls, in other branches."""

    RUNS = ({"steps": 6, "true_cfg_scale": 3.0}, {"steps": 12, "true_cfg_scale": 1.0})

    @pytest.mark.parametrize("both", [True, False], ids=["both accelerated", "one accelerated"])
    def test_at_once(self, pool: ThreadPoolExecutor, both: bool) -> None:
        one = flux_pipeline()
        pipes = [one, quiet(FluxPipeline.from_pipe(one, scheduler=copy.deepcopy(one.scheduler)))]
        barrier, together = threading.Barrier(2), False

        def meet(*_: Any) -> None:
            if together:
                barrier.wait(PATIENCE)

        model = one.transformer  # both threads meet at its door, with their contexts open, and again inside
        hooks = [module.register_forward_pre_hook(meet) for module in (model, model.transformer_blocks[0])]
        handles = [accelerate(pipe, "linear:every=3") for pipe in pipes[: 1 + both]]
        for handle in handles:
            handle.enable()
        alone = [sample_flux(pipe, **run) for pipe, run in zip(pipes, self.RUNS, strict=True)]
        together = True
        futures = [pool.submit(sample_flux, pipe, **run) for pipe, run in zip(pipes, self.RUNS, strict=True)]
        assert all(torch.equal(future.result(PATIENCE), image) for future, image in zip(futures, alone, strict=True))
        assert [handle.report.plan for handle in handles] == ["C..C.C", "C..C..C..C.C"][: 1 + both]
        for handle in handles:
            handle.disable()
        for hook in hooks:
            hook.remove()


def test_the_advice_in_the_message_works(pool: ThreadPoolExecutor) -> None:
    pipe, meeting = flux_pipeline(), Meeting(at=1)
    with accelerate(pipe, policy=DRAWN, forecaster=Lagrange()):
        hook = pipe.transformer.transformer_blocks[0].register_forward_pre_hook(meeting)
        one = pool.submit(sample_flux, pipe)
        assert meeting.arrived.wait(PATIENCE)
        with pytest.raises(ConcurrentRun) as caught:
            sample_flux(pipe)
        meeting.go_on.set()
        assert outcome(one) is ConcurrentRun
        hook.remove()
    advice: Callable[..., Any] = eval(str(caught.value).splitlines()[-1], {"copy": copy, "pipe": pipe})
    assert advice.transformer is pipe.transformer  # type: ignore[attr-defined]
    assert advice.scheduler is not pipe.scheduler  # type: ignore[attr-defined]
