"""Where a call lies in its schedule, and where a run begins; whole pipelines are in tests/runs."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler

from padecast.hooks.callers import caller_of, is_inside
from padecast.hooks.counting import Counter, Tick
from padecast.hooks.schedule import Clock, look_up

GRID = torch.tensor([999, 800, 600, 400, 200, 1])


def context(name: str = "cond", **details: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"name": name, "step_index": None, "num_inference_steps": None, **details})


def index(tick: Tick) -> int | None:
    return None if tick.position is None else tick.position.index


class TestLookUp:
    @pytest.mark.parametrize("place", range(6))
    @pytest.mark.parametrize("scale", [1.0, 1000.0])
    @pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.float16, torch.bfloat16])
    def test_every_place_is_found(self, place: int, scale: float, dtype: torch.dtype) -> None:
        if dtype == torch.int64 and scale != 1:
            dtype = torch.float64
        told = (GRID[place] / scale).to(dtype)
        assert (place, scale) in look_up(GRID, told)

    def test_nearby_places_are_told_apart_as_far_as_the_dtype_goes(self) -> None:
        fine = torch.arange(999, 0, -1)
        assert look_up(fine, torch.tensor(500)) == [(499, 1.0)]
        assert look_up(fine, torch.tensor(0.5)) == [(499, 1000.0)]
        assert len(look_up(fine, torch.tensor(500.0, dtype=torch.bfloat16))) > 1

    def test_a_value_that_a_narrow_dtype_rounded_before(self) -> None:
        rounded = torch.tensor(999.0).bfloat16().float()
        assert rounded == 1000
        assert look_up(GRID, rounded) == [(0, 1.0)]

    def test_a_small_last_timestep_is_not_the_first_one_scaled(self) -> None:
        assert look_up(GRID, torch.tensor(0.999)) == [(0, 1000.0)]

    def test_what_fits_twice(self) -> None:
        assert look_up(torch.tensor([3.0, 2.0, 2.0]), 2.0) == [(1, 1.0), (2, 1.0)]
        assert look_up(torch.tensor([1000.0, 500.0, 1.0]), 1.0) == [(0, 1000.0), (2, 1.0)]

    def test_what_does_not_fit(self) -> None:
        assert look_up(GRID, torch.tensor(700)) == []

    def test_per_sample_and_per_token_timesteps(self) -> None:
        assert look_up(GRID, torch.tensor([[0, 600], [600, 600]])) == [(2, 1.0)]

    def test_grids_that_are_not_tensors(self) -> None:
        assert look_up([3, 2, 1], 2) == [(1, 1.0)]


class TestScheduler:
    def clock(self, scheduler: Any, strides: bool = False) -> Clock:
        return Clock(SimpleNamespace(scheduler=scheduler), strides=strides)

    def stepping(self, steps: int = 4) -> Any:
        scheduler = FlowMatchEulerDiscreteScheduler()
        scheduler.set_timesteps(steps)
        return scheduler

    def advance(self, scheduler: Any, t: Any) -> None:
        scheduler.step(torch.zeros(1, 1), t, torch.zeros(1, 1))

    def test_a_run(self) -> None:
        scheduler = self.stepping()
        clock, ticks = self.clock(scheduler), []
        for t in scheduler.timesteps:
            ticks += [clock.locate(t, None) for _ in range(2)]
            self.advance(scheduler, t)
        assert [index(tick) for tick in ticks] == [0, 0, 1, 1, 2, 2, 3, 3]
        assert [tick.begins for tick in ticks] == [True] + [False] * 7
        assert {tick.total for tick in ticks} == {4}
        assert clock.locate(scheduler.timesteps[-1] / 2, None) == Tick(4, None)
        assert not clock.is_outdated
        scheduler.set_timesteps(4)
        assert clock.is_outdated
        assert clock.locate(scheduler.timesteps[0], None).begins

    def test_what_the_scheduler_says_goes_before_what_the_model_is_told(self) -> None:
        scheduler = self.stepping()
        clock = self.clock(scheduler)
        assert index(clock.locate(torch.tensor(0.123), None)) == 0
        assert index(clock.locate(torch.tensor(0.123), None)) == 0
        self.advance(scheduler, scheduler.timesteps[0])
        assert index(clock.locate(torch.tensor(0.456), None)) == 1

    def test_a_run_from_the_middle(self) -> None:
        scheduler = self.stepping()
        scheduler.set_begin_index(2)
        clock = self.clock(scheduler)
        assert index(clock.locate(torch.tensor(0.123), None)) == 2

    def test_what_the_context_says_goes_first(self) -> None:
        scheduler = self.stepping()
        clock = self.clock(scheduler)
        t = scheduler.timesteps[0]
        assert index(clock.locate(t, context(step_index=2, num_inference_steps=4))) == 2
        assert index(clock.locate(t, context(step_index=3))) == 3

    def test_a_context_that_counts_in_another_schedule_is_not_believed(self) -> None:
        """A pipeline that enumerates the part of the schedule that its strength leaves."""
        scheduler = self.stepping()
        scheduler.set_begin_index(2)
        clock = self.clock(scheduler)
        assert index(clock.locate(scheduler.timesteps[2], context(step_index=0, num_inference_steps=2))) == 2

    @pytest.mark.parametrize("outside", [-1, 4])
    def test_an_index_outside_is_unknown(self, outside: int) -> None:
        scheduler = self.stepping()
        clock = self.clock(scheduler)
        tick = clock.locate(scheduler.timesteps[0], context(step_index=outside))
        assert (tick.position, tick.total, tick.begins) == (None, 4, True)

    def test_a_scheduler_without_an_index(self) -> None:
        scheduler = DDIMScheduler()
        scheduler.set_timesteps(5)
        clock = self.clock(scheduler)
        ticks = [clock.locate(t, None) for t in scheduler.timesteps for _ in range(2)]
        assert [index(tick) for tick in ticks] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
        assert index(clock.locate(torch.tensor(123), None)) is None
        assert clock.locate(scheduler.timesteps[1], None) == Tick(5, ticks[2].position, begins=True)

    def test_what_is_not_in_the_grid_is_taken_for_its_first_place_by_all_branches(self) -> None:
        """A model that is told 1 - t/1000, and a scheduler that has not stepped yet."""
        scheduler = self.stepping()
        scheduler._begin_index = None
        clock = self.clock(scheduler)
        assert [index(clock.locate(torch.tensor(-5.0), None)) for _ in range(3)] == [0, 0, 0]

    def test_a_model_that_moves_while_its_scheduler_stands_is_somebody_elses(self) -> None:
        scheduler = self.stepping()
        clock = self.clock(scheduler)
        clock.locate(scheduler.timesteps[0], None)
        self.advance(scheduler, scheduler.timesteps[0])
        assert not clock.locate(scheduler.timesteps[1], None).foreign
        assert clock.locate(torch.tensor(321.0), None).foreign
        assert not clock.locate(scheduler.timesteps[1], None).foreign

    def test_strides_are_shares_of_the_way(self) -> None:
        scheduler = self.stepping(5)
        clock = self.clock(scheduler, strides=True)
        tick = clock.locate(scheduler.timesteps[0], None)
        assert tick.position is not None
        sigmas = scheduler.sigmas
        expected = float((sigmas[0] - sigmas[1]).abs() / (sigmas[:-1] - sigmas[1:]).abs().sum())
        assert tick.position.stride == pytest.approx(expected)
        assert self.clock(scheduler).locate(scheduler.timesteps[0], None).position.stride is None  # type: ignore[union-attr]

    def test_a_grid_that_is_not_there_yet(self) -> None:
        clock = Clock(SimpleNamespace(scheduler=SimpleNamespace(timesteps=None)), steps=3)
        assert (clock.has_grid, clock.steps) == (False, 3)


class TestCounter:
    def walk(self, counter: Counter, values: list[float], name: str | None = None) -> list[int | None]:
        said = None if name is None else context(name)
        return [index(counter.locate(torch.tensor(value), said, torch.tensor([value]))) for value in values]

    def test_distinct_timesteps(self) -> None:
        counter = Counter(4)
        assert self.walk(counter, [9, 9, 7, 7, 5, 3, 3]) == [0, 0, 1, 1, 2, 3, 3]
        assert self.walk(counter, [1]) == [None]

    def test_turning_back(self) -> None:
        counter = Counter(4)
        ticks = [counter.locate(torch.tensor(v), None, None) for v in (9.0, 7.0, 9.0, 7.0, 5.0, 9.0)]
        assert [index(tick) for tick in ticks] == [0, 1, 0, 1, 2, 0]
        assert [tick.begins for tick in ticks] == [True, False, True, False, False, True]

    def test_rising_time(self) -> None:
        counter = Counter(4)
        assert self.walk(counter, [1, 3, 5, 7]) == [0, None, 2, 3]
        assert self.walk(counter, [1, 3, 5, 7, 1, 3]) == [0, 1, 2, 3, 0, 1]
        counter.reset()
        assert self.walk(counter, [9, 7, 5, 3]) == [0, None, 2, 3]
        assert self.walk(counter, [9, 7, 5, 3]) == [0, 1, 2, 3]

    def test_a_named_branch_that_comes_again_tells_a_new_run_at_the_first_step_only(self) -> None:
        counter, begins = Counter(4), []
        for value, name, again in (
            (9.0, "a", False),
            (9.0, "b", False),
            (9.0, "a", True),
            (9.0, "b", False),
            (7.0, "a", False),
            (7.0, "a", True),
        ):
            begins.append(counter.locate(torch.tensor(value), context(name), None, again).begins)
        assert begins == [True, False, True, False, False, False]

    def test_no_timestep_at_all(self) -> None:
        counter = Counter(4)
        ticks = [counter.locate(None, context("a", step_index=i), None) for i in (0, 1, 2, 0)]
        assert [index(tick) for tick in ticks] == [0, 1, 2, 0]
        assert [tick.begins for tick in ticks] == [True, False, False, True]

    def test_without_a_length_nothing_has_a_place(self) -> None:
        assert Counter(None).locate(torch.tensor(5.0), None, None) == Tick(None, None, begins=True)


class Model:
    def __call__(self, question: Any) -> Any:
        return question()


class Pipe:
    def __init__(self, model: Any, **rest: Any) -> None:
        self.transformer, self.scheduler = model, object()
        for name, value in rest.items():
            setattr(self, name, value)

    def __call__(self, question: Any) -> Any:
        return self.transformer(question)


class TestWhoIsCalling:
    def test_the_innermost_owner(self) -> None:
        model = Model()
        one, two = Pipe(model), Pipe(model)

        def caller() -> Any:
            return caller_of(one, model).pipeline

        assert one(caller) is one
        assert two(caller) is two
        assert two(lambda: one(caller)) is one
        assert one(lambda: two(caller)) is two

    def test_a_loop_by_hand_belongs_to_no_pipeline(self) -> None:
        model = Model()
        assert caller_of(Pipe(model), model).is_by_hand

    def test_who_does_not_own_the_model_does_not_count(self) -> None:
        model = Model()
        service = Pipe(Model(), pipe=Pipe(model))
        assert service.pipe(lambda: caller_of(service.pipe, model)).pipeline is service.pipe
        assert service(lambda: caller_of(service.pipe, model)).is_by_hand

    def test_a_compiled_model_is_known_by_what_it_wraps(self) -> None:
        model = Model()
        compiled = Model()
        compiled._orig_mod = model  # type: ignore[attr-defined]
        other = Pipe(compiled)
        assert other(lambda: caller_of(Pipe(model), model)).pipeline is other

    def test_a_part_of_a_combined_pipeline_counts_as_the_whole(self) -> None:
        model = Model()
        part = Pipe(model)
        whole = Pipe(model, decoder_pipe=part)
        assert part(lambda: caller_of(whole, model)).pipeline is whole
        assert whole(lambda: part(lambda: caller_of(whole, model))).pipeline is whole

    def test_one_call_of_a_pipeline_is_one_frame(self) -> None:
        model = Model()
        pipe = Pipe(model)
        frames = pipe(lambda: [caller_of(pipe, model).frame for _ in range(2)])
        assert frames[0] == frames[1] != 0

    def test_whether_a_thread_is_inside(self) -> None:
        model, arrived, go_on = Model(), threading.Event(), threading.Event()

        def wait() -> None:
            arrived.set()
            go_on.wait(60)

        thread = threading.Thread(target=lambda: model(wait))
        thread.start()
        assert arrived.wait(60)
        assert is_inside(thread.ident or 0, model)
        assert not is_inside(thread.ident or 0, Model())
        go_on.set()
        thread.join()
        assert not is_inside(thread.ident or 0, model)
