"""Whoever asks for a gradient gets the model's own: such a call runs the model, and leaves a run as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.tiny import PLAN, STEPS, dit, flux, loop, wan
from torch import Tensor, nn

from padecast import PadecastWarning, accelerate
from padecast.forecasters import Lagrange
from padecast.policies import Plan

pytestmark = pytest.mark.fault("gradients")
TIMES = tuple(range(950, 0, -120))
WATCHED = (2, 5, 6)


def call_dit(model: Any, x: Tensor, t: int) -> Tensor:
    return model(x, timestep=torch.tensor([t]), class_labels=torch.tensor([3])).sample


def call_flux(model: Any, x: Tensor, t: int) -> Tensor:
    ids = {"img_ids": torch.zeros(16, 3), "txt_ids": torch.zeros(5, 3)}
    flat = x.reshape(1, 16, 16)[..., :4]
    return model(flat, torch.ones(1, 5, 8), torch.ones(1, 8), torch.tensor([t / 1000]), **ids).sample


def call_wan(model: Any, x: Tensor, t: int) -> Tensor:
    return model(x[:, :, None], torch.tensor([t]), torch.ones(1, 6, 8)).sample


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[..., Tensor], str]] = {
    "dit, inside a block": (dit, call_dit, "attn1.to_v"),
    "dit, last block": (dit, call_dit, "transformer_blocks.2.ff"),
    "dit, before the blocks": (dit, call_dit, "pos_embed.proj"),
    "dit, everything": (dit, call_dit, ""),
    "flux, double blocks": (flux, call_flux, "transformer_blocks.0.attn.to_q"),
    "flux, single blocks": (flux, call_flux, "single_transformer_blocks.1"),
    "wan, inside a block": (wan, call_wan, "attn2.to_k"),
}


@pytest.mark.parametrize("span", [None, "output", "halves"])
@pytest.mark.parametrize("case", CASES)
def test_steps_that_ask_for_gradients_have_them(case: str, span: str | None) -> None:
    make, call, part = CASES[case]
    model = make()
    for name, weight in model.named_parameters():
        weight.requires_grad_(part in name)
    weights = [w for w in model.parameters() if w.requires_grad]
    inputs = [torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(i)) for i in range(STEPS)]

    def gradients() -> list[tuple[Tensor | None, ...]]:
        taken = []
        for index, (x, t) in enumerate(zip(inputs, TIMES, strict=True)):
            with torch.set_grad_enabled(index in WATCHED):
                output = call(model, x, t)
            if index in WATCHED:
                taken.append(torch.autograd.grad(output.square().sum(), weights, allow_unused=True))
        return taken

    expected = gradients()
    with accelerate(model, policy=Plan("CC.C..CC"), forecaster=Lagrange(), span=span, steps=STEPS) as run:
        got = gradients()
    for one, two in zip(got, expected, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True) if b is not None)
    assert {note for note in run.report.notes.values()} == {
        "computed because gradients were asked for; sample under torch.no_grad() to forecast"
    }


@pytest.mark.parametrize("count", [1, 30])
def test_training_after_a_run_is_left_alone(count: int) -> None:
    pipe = loop()
    draws = torch.Generator().manual_seed(0)

    def train() -> list[Tensor]:
        pipe.transformer.train()
        draws.manual_seed(0)
        losses = []
        for _ in range(count):
            t = torch.randint(1000, (1,), generator=draws)
            loss = pipe.transformer(torch.ones(1, 4, 8, 8), t, torch.tensor([3])).sample.square().mean()
            losses.append(torch.autograd.grad(loss, [pipe.transformer.proj_out_2.weight])[0])
        pipe.transformer.eval()
        return losses

    torch.manual_seed(0)
    expected = train()
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        image = pipe()
        torch.manual_seed(0)
        assert all(torch.equal(a, b) for a, b in zip(train(), expected, strict=True))
        assert run.report.plan == PLAN
        assert torch.equal(pipe(), image)


def test_sampling_without_no_grad_says_why_nothing_is_forecast() -> None:
    model = dit()
    run = accelerate(model, "tc-pade", steps=STEPS).enable()
    for t in TIMES[:-1]:
        call_dit(model, torch.ones(1, 4, 8, 8), t)
    with pytest.warns(PadecastWarning, match="gradients were asked for"):
        call_dit(model, torch.ones(1, 4, 8, 8), TIMES[-1])
    run.disable()
