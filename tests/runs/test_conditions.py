"""A call belongs to the branch that is conditioned as it is, in whatever order and number the calls of a step come."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tests.representative import representative
from tests.tiny import STEPS, Loop, dit, flux, wan
from torch import Tensor

from padecast import PadecastWarning, accelerate
from padecast.forecasters import Lagrange
from padecast.policies import Plan

pytestmark = pytest.mark.fault("order of unnamed calls")
PLAN = "CC.C..C."
TIMES = torch.linspace(0.98, 0.1, STEPS)
DRAWN: dict[str, Any] = {"policy": Plan(PLAN), "forecaster": Lagrange(), "steps": STEPS}
Call = Callable[[Tensor, Tensor, str], Tensor]
WHO = {"cond": 3, "uncond": 900, "image": 7}


def texts(size: tuple[int, ...]) -> dict[str, Tensor]:
    return {who: torch.randn(size, generator=torch.Generator().manual_seed(seed)) for who, seed in WHO.items()}


def call_dit(model: Any) -> Call:
    def call(x: Tensor, t: Tensor, who: str) -> Tensor:
        return model(x, timestep=t.expand(1) * 1000, class_labels=torch.tensor([WHO[who]])).sample

    return call


def call_flux(model: Any) -> Call:
    text, pooled = texts((1, 5, 8)), texts((1, 8))
    ids = {"img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(5, 3)}

    def call(x: Tensor, t: Tensor, who: str) -> Tensor:
        flat = x.reshape(1, 16, 16)[..., :4]
        guess = model(flat, text[who], pooled[who], t.expand(1), **ids).sample
        return guess.repeat(1, 1, 4).reshape(x.shape)

    return call


def call_wan(model: Any) -> Call:
    text = texts((1, 6, 8))

    def call(x: Tensor, t: Tensor, who: str) -> Tensor:
        return model(x[:, :, None], t.expand(1) * 1000, text[who]).sample[:, :, 0]

    return call


MODELS: dict[str, tuple[Callable[[], Any], Callable[[Any], Call]]] = {
    "dit": (dit, call_dit),
    "flux": (flux, call_flux),
    "wan": (wan, call_wan),
}


def walk(call: Call, orders: Sequence[Sequence[str]]) -> Tensor:
    """Sample by the mean of all branches of a step, whose calls come in the orders given."""
    x = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for t, order in zip(TIMES, orders, strict=True):
        with torch.no_grad():
            guesses = {who: call(x, t, who) for who in order}
        x = x - 0.1 * torch.stack([guesses[who] for who in sorted(guesses)]).mean(0)
    return x


@pytest.mark.parametrize("name", representative(MODELS, ["dit", "flux"]))
@pytest.mark.parametrize("kind", representative(["reversed", "shuffled", "by turns"], ["shuffled", "by turns"]))
@pytest.mark.parametrize("names", [("cond", "uncond"), ("cond", "uncond", "image")], ids=len)
def test_the_order_makes_no_difference(name: str, kind: str, names: tuple[str, ...]) -> None:
    make, caller = MODELS[name]
    model, chance = make(), random.Random(1)
    orders = {
        "reversed": [names[::-1]] * STEPS,
        "shuffled": [tuple(chance.sample(names, len(names))) for _ in range(STEPS)],
        "by turns": [names if step % 2 else names[::-1] for step in range(STEPS)],
    }[kind]
    with accelerate(model, **DRAWN):
        steady = walk(caller(model), [names] * STEPS)
    with accelerate(model, **DRAWN) as run:
        assert torch.equal(walk(caller(model), orders), steady)
    assert (run.report.plan, run.report.notes) == (PLAN, {})
    assert len(run.report.branches) == len(names)


@pytest.mark.parametrize("name", representative(MODELS, ["dit", "wan"]))
@pytest.mark.parametrize("missing", ["cond", "uncond"])
@pytest.mark.parametrize(
    "steps", representative([((4, 5),), ((4, 5, 6, 7),), ((2,),), ((6,),)], ["(4, 5)", "(2,)"]), ids=str
)
def test_a_branch_that_is_missing_changes_no_other(name: str, missing: str, steps: tuple[int, ...]) -> None:
    """Guidance that stops, comes back, or whose first call goes missing: the other keeps its own history."""
    make, caller = MODELS[name]
    model, names = make(), ("cond", "uncond")
    orders = [tuple(n for n in names if n != missing or step not in steps) for step in range(STEPS)]
    exact = walk(caller(model), orders)
    losses = []
    for flip in (False, True):
        with accelerate(model, **DRAWN):
            image = walk(caller(model), [order[::-1] if flip else order for order in orders])
        losses.append(float((image - exact).norm()))
    assert losses[0] == pytest.approx(losses[1], rel=0.5, abs=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_what_is_conditioned_as_none_before_is_computed(name: str) -> None:
    make, caller = MODELS[name]
    model = make()
    call = caller(model)
    expected = call(torch.ones(1, 4, 8, 8), TIMES[2], "image")
    with torch.no_grad(), accelerate(model, **DRAWN) as run:
        for t in TIMES[:2]:
            call(torch.ones(1, 4, 8, 8), t, "cond")
        assert torch.equal(call(torch.ones(1, 4, 8, 8), TIMES[2], "image"), expected)
        assert run.report.notes == {"step 2, call 2": "computed because nothing was remembered for this branch"}


def test_calls_of_one_name_that_are_conditioned_otherwise_are_apart() -> None:
    """As where one named branch is called for every region of a picture, or by two requests."""
    model = wan()
    call = call_wan(model)

    def named(x: Tensor, t: Tensor, who: str) -> Tensor:
        with model.cache_context("cond"):
            return call(x, t, who)

    with accelerate(model, **DRAWN):
        unnamed = walk(call, [("cond", "image")] * STEPS)
    with accelerate(model, **DRAWN) as run:
        assert torch.equal(walk(named, [("cond", "image")] * STEPS), unnamed)
    assert run.report.branches == ("cond", "cond, call 2")


@pytest.mark.parametrize("reuse", ["the same tensors", "new tensors", "one buffer"])
def test_tensors_may_be_made_anew_at_every_call(reuse: str) -> None:
    model = wan()
    text, buffer = texts((1, 6, 8)), torch.empty(1, 6, 8)

    def call(x: Tensor, t: Tensor, who: str) -> Tensor:
        given = {
            "the same tensors": lambda: text[who],
            "new tensors": lambda: text[who].clone(),
            "one buffer": lambda: buffer.copy_(text[who]),
        }[reuse]()
        return model(x[:, :, None], t.expand(1) * 1000, given).sample[:, :, 0]

    orders = [("cond", "uncond"), ("cond", "uncond"), *[("uncond", "cond")] * (STEPS - 2)]
    exact = walk(call, orders)
    quiet = pytest.warns(PadecastWarning) if reuse == "one buffer" else contextlib.nullcontext()
    with quiet, accelerate(model, **DRAWN) as run:
        image = walk(call, orders)
    if reuse == "one buffer":
        assert torch.equal(image, exact)  # what a buffer held before cannot be compared, so all is computed
    else:
        assert (run.report.plan, len(run.report.branches)) == (PLAN, 2)


def test_a_conditioning_that_changes_at_every_step_is_computed_and_said() -> None:
    model = wan()

    def call(x: Tensor, t: Tensor, who: str) -> Tensor:
        return model(x[:, :, None], t.expand(1) * 1000, torch.full((1, 6, 8), float(t))).sample[:, :, 0]

    exact = walk(call, [("cond",)] * STEPS)
    with (
        pytest.warns(PadecastWarning, match="nothing was remembered for this branch"),
        accelerate(model, **DRAWN) as run,
    ):
        assert torch.equal(walk(call, [("cond",)] * STEPS), exact)
    assert run.report.forecast == 0


class Stream(Loop):
    """One call a frame, with a latent at every noise level of the schedule."""

    def advance(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return self.transformer(x, timestep=self.scheduler.timesteps, class_labels=torch.full((4,), 3)).sample


def test_the_history_of_a_stream_stays_bounded() -> None:
    pipe = Stream(dit(), FlowMatchEulerDiscreteScheduler())
    pipe.scheduler.set_timesteps(4)
    run = accelerate(pipe, "tc-pade").enable()
    for frame in range(40):
        pipe.advance(torch.full((4, 4, 8, 8), float(frame)))
    report = run.report
    with pytest.warns(PadecastWarning, match="place of its calls"):
        run.disable()
    assert (report.unplaced, report.history_bytes, report.branches) == (40, 0, ())


def test_control_signals_and_times_are_no_conditions() -> None:
    from padecast.hooks.conditions import conditions_of

    steady = {"encoder_hidden_states": torch.ones(1, 2, 2), "class_labels": torch.ones(1), "skip": [True]}
    varying = {
        name: torch.ones(1) for name in ("timestep", "guidance", "controlnet_block_samples", "sigma", "hidden_states")
    }
    assert [c.name for c in conditions_of({**steady, **varying})] == list(steady)
