"""Sampler loops by hand: placed by noise levels, with several evaluations a step, rehearsed."""

from __future__ import annotations

import dataclasses
import pickle
import random
import time
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests import samplers
from torch import Tensor, nn

from padecast import (
    Grid,
    InvalidOption,
    InvalidPlan,
    PadecastWarning,
    Position,
    Report,
    Session,
    method,
    methods,
    policies,
    rehearse,
)
from padecast._noise import noise_at, noise_of
from padecast.forecasters import Lagrange, Reuse
from padecast.policies import Always, Interval, Plan
from padecast.session.grid import Evaluation
from padecast.session.observer import Observer

LINEAR = torch.linspace(1, 0, 9)
KARRAS = torch.cat([torch.linspace(14.6**0.5, 0.03**0.5, 8) ** 2, torch.zeros(1)])
PLAN = "CC.C.C.C"
SAMPLERS = [samplers.euler, samplers.heun, samplers.midpoint, samplers.mute, samplers.ancestral, samplers.coarse]
every_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.__name__)


def net(width: int = 4) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(width, 16), nn.Tanh(), nn.Linear(16, width)).requires_grad_(False)


class Model:
    """A denoiser whose calls go through a session, and which counts those that it computes."""

    def __init__(self, session: Session | None, model: nn.Module, **options: Any) -> None:
        self.session, self.model, self.options = session, model, options
        self.levels: list[float] = []
        self.calls = 0

    def __call__(self, x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        self.levels.append(float(sigma[0]))

        def compute() -> Tensor:
            self.calls += 1
            output: Tensor = self.model(x)
            return output

        if self.session is None:
            return compute()
        return self.session.step(x, sigma=sigma, compute=compute, **self.options)


def sample(sampler: Callable[..., Tensor], model: Model, sigmas: Tensor, seed: int = 0, batch: int = 2) -> Tensor:
    torch.manual_seed(seed)
    x: Tensor = torch.randn(batch, 4) * sigmas[0]
    return sampler(model, x, sigmas)


# A grid --------------------------------------------------------------------------------------------------------------


def test_a_grid_finds_its_levels_and_no_others() -> None:
    grid = Grid(KARRAS, flow=False)
    assert [grid.find(level) for level in KARRAS] == list(range(9)) and grid.steps == 8
    assert [grid.find(level * (1 + 5e-5)) for level in KARRAS[:-1].tolist()] == list(range(8))
    assert [grid.find(level * (1 + 2e-4)) for level in KARRAS[:-1].tolist()] == [None] * 8
    assert grid.find(torch.full((3,), KARRAS[2].item())) == 2 and grid.find(torch.tensor([14.6, 3.0])) is None
    assert grid.find(float("nan")) is None and sum(grid.strides) == pytest.approx(14.6)


def test_levels_nearer_than_the_tolerance_are_told_by_the_nearest_and_repeated_ones_by_the_start() -> None:
    fine = Grid([1.0, 0.99995, 0.9999, 0.0])
    assert [fine.find(level) for level in fine.sigmas] == [0, 1, 2, 3]
    twice = Grid([1.0, 0.5, 0.5, 0.0])
    assert (twice.find(0.5), twice.find(0.5, 2), twice.find(1.0, 1)) == (1, 2, None)


@pytest.mark.parametrize(
    ("sigmas", "message"),
    [
        ([1.0], "2 levels or more"),
        ([1.0, float("nan"), 0.0], "finite, and 0 or more"),
        ([1.0, -0.1], "finite, and 0 or more"),
        ([0.2, 0.6, 0.0], "rise at place 1, from 0.2 to 0.6"),
        ([14.6, 1.0, 0.0], r"14.6, which is no share of noise(?s:.*)flow=False"),
    ],
)
def test_levels_that_are_no_run_are_refused(sigmas: list[float], message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        Grid(sigmas)


def test_evaluations_lie_in_the_steps_of_their_grid() -> None:
    with pytest.raises(InvalidOption, match=r"evaluations=(?s:.*)step=8(?s:.*)calls at steps 0 to 1"):
        Grid([1.0, 0.5, 0.0], evaluations=[Evaluation(1.0, 0), Evaluation(0.5, 8)])


@pytest.mark.filterwarnings("ignore:__array__")
def test_a_grid_knows_the_noise_that_a_scheduler_of_the_same_levels_tells() -> None:
    from diffusers import EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

    flow = FlowMatchEulerDiscreteScheduler(shift=3.0)
    edm = EulerDiscreteScheduler(prediction_type="v_prediction")
    for scheduler, is_flow in ((flow, True), (edm, False)):
        scheduler.set_timesteps(12)
        reference, noise = noise_of(scheduler, 400), Grid(scheduler.sigmas, flow=is_flow).noise(400)
        assert reference is not None and noise.size == reference.size
        for name in ("alphas", "sigmas", "gains"):
            assert getattr(noise, name) == pytest.approx(getattr(reference, name), abs=1e-6)


@pytest.mark.parametrize(("output", "gain"), [("image", 1.0), ("velocity", 0.6), ("noise", 0.75)])
def test_gains_are_those_of_what_the_model_says(output: str, gain: float) -> None:
    assert noise_at((0.75, 0.0), flow=False, output=output).gains == pytest.approx([gain])
    with pytest.raises(InvalidOption, match="'velocity' or 'image' or 'noise'"):
        Grid(LINEAR, output="epsilon")


def test_a_grid_is_a_value() -> None:
    grid = rehearse(samplers.heun, LINEAR).grid(output="image", size=9)
    again = pickle.loads(pickle.dumps(grid))
    assert again == grid and hash(again) == hash(grid) != hash(Grid(LINEAR)) and "Evaluation" not in repr(grid)
    with pytest.raises(dataclasses.FrozenInstanceError):
        grid.size = 3  # type: ignore[misc]


# A session on a grid -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adaptive", "tc-pade", "seacache", "none"])
def test_methods_that_need_noise_levels_work_by_hand(name: str) -> None:
    chosen = method(name)
    seen: list[Position] = []

    class Ears(Observer):
        def hear(self, branch: str, at: Position, *_: Any) -> None:
            seen.append(at)

    sigmas = torch.linspace(1, 0, 21)
    session = Session(chosen.policy, chosen.forecaster, grid=Grid(sigmas), observers=[Ears()])
    sample(samplers.euler, Model(session, net()), sigmas)
    assert len(session.plan) == 20 and ("." in session.plan) == (name != "none")
    assert all(at.noise is not None and at.noise.size == 4 and at.strides is not None for at in seen)
    # Without levels the same method decides otherwise: they are really used.
    if name == "adaptive":
        plain = Session(chosen.policy, chosen.forecaster, 20)
        x = torch.randn(2, 4)
        for index in range(20):
            plain.step(x, index=index, compute=lambda: net()(x))
        assert plain.plan != session.plan


def test_total_is_what_the_grid_says_and_nothing_else() -> None:
    assert Session(Always(), Reuse(), grid=Grid(LINEAR)).total == 8 == Session(Always(), Reuse(), 8).total
    with pytest.raises(InvalidOption, match=r"total=9 steps are not the 8 of the grid(?s:.*)one level more"):
        Session(Always(), Reuse(), 9, grid=Grid(LINEAR))
    with pytest.raises(InvalidOption, match=r"total=None(?s:.*)padecast.Grid"):
        Session(Always(), Reuse())


def test_a_plan_of_another_length_is_an_error_that_names_both() -> None:
    with pytest.raises(InvalidPlan, match=r"this run has 8 steps, the plan 'CC\.C' has 4"):
        Session(policies.Window(Plan("CC.C")), Reuse(), grid=Grid(LINEAR))


def test_a_call_has_one_place() -> None:
    x = torch.zeros(1, 2)
    session, plain = Session(Always(), Reuse(), grid=Grid(LINEAR)), Session(Always(), Reuse(), 8)
    for arguments in ({}, {"index": 0, "sigma": 1.0}):
        with pytest.raises(InvalidOption, match="a step index, or a noise level"):
            session.step(x, compute=lambda: x, **arguments)
    with pytest.raises(InvalidOption, match=r"sigma=0.5 has no place(?s:.*)grid=padecast.Grid\(sigmas\)"):
        plain.step(x, sigma=0.5, compute=lambda: x)


def test_a_run_may_begin_in_the_middle_and_begin_again() -> None:
    session, x = Session(Interval(every=2), Lagrange(1), grid=Grid(LINEAR)), torch.zeros(1, 2)
    for start in (3, 0):
        for sigma in LINEAR[start:-1]:
            session.step(x, sigma=sigma, compute=lambda: x + 1)
        assert session.plan.strip() == Session.plan.fget(session).strip() and len(session.records) == 8 - start  # type: ignore[attr-defined]
    assert session.plan == "C.C.C.CC"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("steps", [8, 50])
def test_levels_may_be_rounded_as_their_dtype_does(dtype: torch.dtype, steps: int) -> None:
    sigmas = torch.linspace(1, 0, steps + 1)
    session, x = Session(Interval(every=2), Lagrange(1), grid=Grid(sigmas)), torch.zeros(1, 2)
    for sigma in sigmas[:-1]:
        for branch in ("cond", "uncond"):
            session.step(x, sigma=sigma.to(dtype), branch=branch, compute=lambda: x + 1)
    assert len(session.plan) == steps and " " not in session.plan and not session.unplaced
    assert Grid(sigmas).find(sigmas[3].to(dtype)) == 3 and Grid([0.5, 0.0]).find(0.501) is None


def test_branches_of_one_level_are_one_step() -> None:
    session, calls = Session(Plan(PLAN), Lagrange(1), grid=Grid(LINEAR)), Counter[str]()

    def stack(x: Tensor, branch: str) -> Tensor:
        calls[branch] += 1
        return x + len(branch)

    for sigma in LINEAR[:-1]:
        for branch in ("cond", "uncond"):
            x = torch.full((1, 2), float(sigma))
            out = session.step(x, sigma=sigma, branch=branch, compute=lambda x=x, branch=branch: stack(x, branch))
            torch.testing.assert_close(out, x + len(branch))
    assert session.plan == PLAN and calls == {"cond": 5, "uncond": 5}


def test_a_branch_begins_anew_where_what_acts_on_it_changes() -> None:
    session, x = Session(Plan("CC...."), Lagrange(1), total=6), torch.zeros(1, 2)
    prompts = ["a", "a", "a", "b", "b", "b"]
    for index, prompt in enumerate(prompts):
        for branch, conditions in (("cond", ""), ("uncond", prompt)):
            session.step(x, index=index, branch=branch, conditions=conditions, compute=lambda index=index: x + index)
    notes = Report.of(session).notes
    assert list(notes) == ["step 3, uncond"] and "what acts on this branch changed" in notes["step 3, uncond"]
    assert session.plan == "CC...."  # decided before, for all branches


# Stages --------------------------------------------------------------------------------------------------------------


@every_sampler
@pytest.mark.parametrize("sigmas", [LINEAR, KARRAS], ids=["flow", "karras"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_all_computed_is_bit_identical(sampler: Any, sigmas: Tensor, dtype: torch.dtype) -> None:
    sigmas, model = sigmas.to(dtype), net().to(dtype)
    grid = rehearse(sampler, sigmas).grid(flow=sigmas[0] <= 1, output="image")
    session = Session(Always(), Lagrange(1), grid=grid)
    torch.manual_seed(0)
    x = torch.randn(2, 4, dtype=dtype) * sigmas[0]
    torch.manual_seed(1)
    plain = sampler(Model(None, model), x, sigmas)
    torch.manual_seed(1)
    assert torch.equal(sampler(Model(session, model), x, sigmas), plain)
    assert session.plan == "C" * grid.steps and not Report.of(session).notes and not session.remarks


@pytest.mark.parametrize("sampler", [samplers.heun, samplers.midpoint], ids=["heun", "midpoint"])
def test_all_evaluations_of_a_computed_step_are_computed_and_none_of_a_forecast_one(sampler: Any) -> None:
    rehearsal = rehearse(sampler, LINEAR)
    session = Session(Plan(PLAN), Lagrange(1), grid=rehearsal.grid())
    model = Model(session, net())
    sample(sampler, model, LINEAR)
    expected = sum(PLAN[call.step] == "C" for call in rehearsal.evaluations)
    assert session.plan == PLAN and model.calls == expected == (9 if sampler is samplers.heun else 10)
    report = Report.of(session)
    assert f"{len(model.levels)} evaluations of the sampler, {expected} computed" in str(report)
    assert [(step.stages, step.stages_computed) for step in report.steps[1:3]] == [(2, 2), (2, 0)]
    assert report.branches == ("",) and not report.notes


@pytest.mark.parametrize("name", sorted(methods()))
def test_every_method_that_sees_enough_works_with_stages_and_branches(name: str) -> None:
    chosen, sigmas, network = method(name), torch.linspace(1, 0, 21), net()
    session = Session(chosen.policy, chosen.forecaster, grid=rehearse(samplers.heun, sigmas).grid(output="image"))
    calls = Counter[str]()

    def model(x: Tensor, sigma: Tensor, **_: Any) -> Tensor:
        def compute(branch: str) -> Tensor:
            calls[branch] += 1
            output: Tensor = network(x) * (1 if branch == "cond" else 0.5)
            return output

        cond, uncond = (
            session.step(None, like=x, sigma=sigma, branch=branch, compute=lambda branch=branch: compute(branch))
            for branch in ("cond", "uncond")
        )
        return session.guide(uncond + 2 * (cond - uncond))

    if chosen.policy.probe in ("modulated", "first-block"):
        with pytest.raises(InvalidOption, match="which a session does not see by itself"):
            samplers.heun(model, torch.ones(2, 4), sigmas)
        return
    assert samplers.heun(model, torch.ones(2, 4), sigmas).isfinite().all()
    computed = session.plan.count("C")
    expected = 2 * computed - (session.plan[-1] == "C")
    assert len(session.plan) == 20 and calls == {"cond": expected, "uncond": expected}
    report = Report.of(session)
    assert report.branches == ("cond", "uncond") and not report.notes and report.computed == computed


def test_a_loop_of_ones_own_says_its_stages() -> None:
    session, calls = Session(Plan("CCC.C.C."), Lagrange(1), 8), []
    for index in range(8):
        for stage in (0, 1):
            # Each stage has a straight line of its own, which a line that mixed them would miss.
            value = torch.full((1, 2), 1.0 + index * (3 if stage else -2) + 10 * stage)

            def compute(index: int = index, stage: int = stage, value: Tensor = value) -> Tensor:
                calls.append((index, stage))
                return value

            x = torch.zeros(1, 2)
            torch.testing.assert_close(session.step(x, index=index, stage=stage, compute=compute), value)
    assert calls == [(index, stage) for index in (0, 1, 2, 4, 6) for stage in (0, 1)]
    assert session.plan == "CCC.C.C." and session.complete


def test_stages_are_told_by_hand_on_a_grid_that_was_not_rehearsed() -> None:
    session, x = Session(Plan(PLAN), Lagrange(1), grid=Grid(LINEAR)), torch.zeros(1, 2)
    calls = []
    for index in range(8):
        for stage, sigma in enumerate((LINEAR[index], (LINEAR[index] + LINEAR[index + 1]) / 2)):
            session.step(x, sigma=sigma, stage=stage, compute=lambda at=(index, stage): calls.append(at) or x + 1)
    assert calls == [(i, stage) for i, letter in enumerate(PLAN) if letter == "C" for stage in (0, 1)]
    with pytest.raises(InvalidOption, match="stage=-1"):
        session.step(x, index=0, stage=-1, compute=lambda: x)
    with pytest.raises(InvalidOption, match="stage=1 is out of range: expected 0 at the first evaluation"):
        Session(Always(), Reuse(), grid=Grid(LINEAR)).step(x, sigma=0.9, stage=1, compute=lambda: x)
    rehearsed = Session(Always(), Reuse(), grid=rehearse(samplers.heun, LINEAR).grid())
    with pytest.raises(InvalidOption, match="rehearsed, and its stages are known"):
        rehearsed.step(x, sigma=1.0, stage=1, compute=lambda: x)


def test_a_run_of_several_stages_that_was_interrupted_leaves_nothing_behind() -> None:
    grid = rehearse(samplers.heun, LINEAR).grid()
    fresh = sample(samplers.heun, Model(Session(Plan(PLAN), Lagrange(1), grid=grid), net()), LINEAR)
    for count in range(1, 15):
        session = Session(Plan(PLAN), Lagrange(1), grid=grid)
        model = Model(session, net())

        def stop(x: Tensor, sigma: Tensor, model: Model = model, count: int = count) -> Tensor:
            if len(model.levels) == count:
                raise KeyboardInterrupt
            return model(x, sigma)

        with pytest.raises(KeyboardInterrupt):
            samplers.heun(stop, torch.ones(2, 4), LINEAR)
        assert torch.equal(sample(samplers.heun, Model(session, net()), LINEAR), fresh), count
        assert session.plan == PLAN and not session.remarks


def test_observers_hear_of_the_first_evaluation_of_a_step_and_of_what_the_sampler_is_given() -> None:
    heard: list[tuple[str, int]] = []

    class Ears(Observer):
        def hear(self, branch: str, at: Position, *_: Any) -> None:
            heard.append((branch, at.index))

        def hear_guided(self, at: Position, output: Tensor, computed: bool) -> None:
            heard.append((f"guided {computed}", at.index))

    session, x = Session(Plan("CC."), Reuse(), 3, observers=[Ears()]), torch.zeros(1, 2)
    for index in range(3):
        for stage in (0, 1):
            out = session.step(x, index=index, stage=stage, branch="cond", compute=lambda: x + 1)
            assert session.guide(out) is out
    computed = [("cond", 0), ("guided True", 0), ("cond", 1), ("guided True", 1)]
    assert heard == [*computed, ("guided False", 2)]


# Forecasts without an input ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_a_forecast_without_an_input_is_one_with_zeros(dtype: torch.dtype) -> None:
    runs = []
    for has_zeros in (True, False):
        session, outputs = Session(Plan("CCC.C."), Lagrange(2), 6), []
        for index in range(6):
            x = torch.randn(2, 3, generator=torch.Generator().manual_seed(index)).to(dtype)
            inputs = {"x": torch.zeros_like(x)} if has_zeros else {"x": None, "like": x}
            outputs.append(session.step(**inputs, index=index, compute=lambda x=x: x.sin()))
        runs.append(torch.stack(outputs))
        assert session.plan == "CCC.C." and outputs[3].is_contiguous() and outputs[3].dtype == dtype
    assert torch.equal(*runs)


def test_without_an_input_the_shape_is_that_of_like_and_a_policy_looks_at_it() -> None:
    session, x = Session(Plan("C.."), Reuse(), 3), torch.ones(1, 2)
    session.step(None, like=x, index=0, compute=lambda: x * 3)
    assert torch.equal(session.step(None, like=x, index=1, compute=lambda: x * 9), x * 3)
    changed = torch.ones(2, 2)
    assert torch.equal(session.step(None, like=changed, index=2, compute=lambda: changed * 5), changed * 5)
    assert Report.of(session).notes == {"step 2, ": "computed because the features changed shape, dtype or device"}
    for arguments in ({"x": None}, {"x": x, "like": x}):
        with pytest.raises(InvalidOption, match="like="):
            session.step(**arguments, index=0, compute=lambda: x)
    watcher, moved = Session(policies.Accumulated(threshold=0.5), Reuse(), 6), []
    for index in range(6):
        latents = torch.full((1, 2), 1 + 0.2 * index)
        watcher.step(None, like=latents, probe=latents, index=index, compute=lambda: torch.ones(1, 2))
        moved.append(watcher.records[-1].at.seen)
    assert "." in watcher.plan and moved[1] is not None and moved[1].moved == pytest.approx(0.2)


# Rehearsal -----------------------------------------------------------------------------------------------------------


@every_sampler
@pytest.mark.parametrize("sigmas", [LINEAR, KARRAS], ids=["flow", "karras"])
def test_a_rehearsal_is_what_the_sampler_then_does(sampler: Any, sigmas: Tensor) -> None:
    rehearsal, model = rehearse(sampler, sigmas), Model(None, net())
    sample(sampler, model, sigmas)
    assert rehearsal.is_known and [call.sigma for call in rehearsal.evaluations] == pytest.approx(model.levels)
    stages = {samplers.heun: 2, samplers.midpoint: 2, samplers.coarse: 2}.get(sampler, 1)
    assert rehearsal.steps == (4 if sampler is samplers.coarse else 8)
    assert max(call.stage for call in rehearsal.evaluations) == stages - 1
    steps = [call.step for call in rehearsal.evaluations]
    assert steps == sorted(steps) and {call.step for call in rehearsal.evaluations if not call.stage} == {*steps}


def test_a_callback_at_the_end_of_a_step_and_one_after_its_first_call_are_told_apart() -> None:
    after, at_end = rehearse(samplers.heun, LINEAR[-3:]), rehearse(samplers.midpoint, LINEAR[-3:])
    assert [call[1:] for call in after.evaluations] == [(0, 0), (0, 1), (1, 0)]
    assert [call[1:] for call in at_end.evaluations] == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_a_rehearsal_leaves_random_numbers_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    def draws(model: Any, x: Tensor, sigmas: Tensor, **told: Any) -> Tensor:
        random.random()
        return samplers.ancestral(model, x, sigmas, **told)

    random.seed(5)
    torch.manual_seed(5)
    expected = torch.rand(3).tolist(), random.random()
    random.seed(5)
    torch.manual_seed(5)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "manual_seed", None)  # it would seed GPUs too
        assert rehearse(draws, LINEAR).is_known
    assert (torch.rand(3).tolist(), random.random()) == expected


def test_a_rehearsal_says_whether_a_sampler_draws_noise() -> None:
    def tree(model: Any, x: Tensor, sigmas: Tensor, noise_sampler: Any = None, **told: Any) -> Tensor:
        return samplers.euler(model, x, sigmas, **told) + noise_sampler(sigmas[0], sigmas[1])

    drawing = [sampler for sampler in [*SAMPLERS, tree] if rehearse(sampler, LINEAR).is_random]
    assert drawing == [samplers.ancestral, tree]


def test_levels_that_rise_are_a_fact_of_the_rehearsal() -> None:
    rehearsal = rehearse(samplers.mute, LINEAR.flip(0) + 0.1)
    assert "sigmas rise at place 1" in rehearsal.fact


def test_a_rehearsal_is_fast() -> None:
    rehearse(samplers.heun, LINEAR)
    times = []
    for _ in range(5):
        started = time.perf_counter()
        rehearse(samplers.heun, torch.linspace(1, 0, 51))
        times.append(time.perf_counter() - started)
    assert min(times) < 0.1


def test_a_sampler_that_chooses_by_what_it_is_given_is_told() -> None:
    rehearsal = rehearse(samplers.adaptive, KARRAS)
    assert (
        not rehearsal.is_known and str(rehearsal) == "the sampler adaptive chooses its noise levels by what it is given"
    )
    with pytest.raises(InvalidOption, match=r"adaptive chooses its noise levels(?s:.*)sample without a session"):
        rehearsal.grid(flow=False)


@pytest.mark.parametrize(
    ("sampler", "fact"),
    [
        (lambda model, x, sigmas, **told: x, "called no model"),
        (lambda model, x, sigmas, **told: model.sampling.shift, "has no 'sampling': give rehearse"),
        (lambda model, x: x, "could not be rehearsed: TypeError"),
        (lambda model, x, sigmas, **told: [model(x, sigmas[:1]) for _ in iter(int, 1)], "did not end within 208"),
    ],
    ids=["no call", "attribute", "signature", "endless"],
)
def test_what_goes_wrong_in_a_rehearsal_is_said_and_not_raised(sampler: Any, fact: str) -> None:
    rehearsal = rehearse(sampler, LINEAR)
    assert fact in rehearsal.fact and not rehearsal.is_known


def test_a_sampler_may_look_at_a_model_and_take_options() -> None:
    def shifted(model: Any, x: Tensor, sigmas: Tensor, eta: float = 0.0, **told: Any) -> Tensor:
        assert model.shift == 3.0 and eta == 0.5
        return samplers.euler(model, x, sigmas, **told)

    class Sampling:
        shift = 3.0

    assert rehearse(shifted, LINEAR, model=Sampling(), options={"eta": 0.5}).is_known
    with pytest.raises(KeyboardInterrupt):
        rehearse(lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt), LINEAR)


def test_a_sampler_may_hand_over_what_it_wants_called() -> None:
    def guided(model: Any, x: Tensor, sigmas: Tensor, extra_args: dict[str, Any], **told: Any) -> Tensor:
        parts: list[Tensor] = []
        assert extra_args == {"seed": 3}
        samplers.euler(model, x, sigmas, {**extra_args, "hear": parts.append}, **told)
        return parts[-1] + parts[0]

    def finish(denoised: Tensor, x: Tensor, sigma: Tensor, *, hear: Callable[[Tensor], None], seed: int) -> Tensor:
        hear(denoised)
        return denoised * seed

    assert "IndexError" in rehearse(guided, LINEAR, extra_args={"seed": 3}).fact
    assert rehearse(guided, LINEAR, extra_args={"seed": 3}, finish=finish).steps == 8


# What was not foreseen -----------------------------------------------------------------------------------------------


def test_after_a_call_that_was_not_foreseen_the_rest_of_the_run_is_computed_with_one_warning() -> None:
    session = Session(Plan(PLAN), Lagrange(1), grid=rehearse(samplers.euler, LINEAR).grid())
    other = LINEAR.clone()
    other[3] *= 1.01
    model = Model(session, net())
    with pytest.warns(PadecastWarning, match=r"noise level 0\.63125 was not foreseen after step 2 of 8") as caught:
        out = sample(samplers.euler, model, other)
    assert len(caught) == 1 and caught[0].filename == __file__
    assert model.calls == 7 and session.plan == "CC." and out.isfinite().all()
    text = str(Report.of(session))
    assert "note: 5 calls: computed" in text and "note: a call at the noise level 0.63125 was not foreseen" in text
    # The next run is one like any other.
    fresh = Model(Session(Plan(PLAN), Lagrange(1), grid=session.grid), net())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        again = Model(session, net())
        assert torch.equal(sample(samplers.euler, again, LINEAR), sample(samplers.euler, fresh, LINEAR))
    assert session.plan == PLAN and again.calls == 5 and not session.remarks and not session.unplaced


def test_levels_that_are_left_out_are_foreseen_by_a_plain_grid_alone() -> None:
    x, rehearsed = torch.zeros(1, 2), rehearse(samplers.euler, LINEAR).grid()
    plain = Session(Plan(PLAN), Reuse(), grid=Grid(LINEAR))
    for session in (plain, Session(Plan(PLAN), Reuse(), grid=rehearsed)):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            for sigma in (1.0, 0.75):
                session.step(x, sigma=sigma, compute=lambda: x + 1)
        assert (session.plan, session.unplaced) == (("C .", 0) if session is plain else ("C", 1))


def test_samples_at_several_levels_have_no_place() -> None:
    session, x = Session(Plan(PLAN), Reuse(), grid=Grid(LINEAR)), torch.zeros(2, 2)
    with pytest.warns(PadecastWarning, match="noise level nan"):
        session.step(x, sigma=torch.tensor([1.0, 0.5]), compute=lambda: x)
    assert session.plan == "" and "nan" in session.remarks[0]
