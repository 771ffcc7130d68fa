"""The ratios that MagCache's rule is calibrated with."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from tests.tiny import dit_pipeline, flux_pipeline, footprint, sample_dit, sample_flux
from torch import Tensor

from padecast import InvalidOption, accelerate, lab
from padecast.policies import Magnitude

STEPS = 6


def test_they_are_means_over_tokens_of_what_the_blocks_add() -> None:
    pipe = dit_pipeline()
    entries: list[Tensor] = []
    added: list[Tensor] = []
    stack = pipe.transformer.transformer_blocks
    hooks = [
        stack[0].register_forward_pre_hook(lambda _m, args: entries.append(args[0].clone())),
        stack[-1].register_forward_hook(lambda _m, _a, y: added.append((y - entries[-1]).norm(dim=-1))),
    ]
    sample_dit(pipe, STEPS)
    for hook in hooks:
        hook.remove()
    by_hand = [float((now / before).mean()) for before, now in pairwise(added)]
    before = footprint(pipe.transformer)
    ratios = lab.magnitudes(pipe, lambda pipe, seeds, **_: sample_dit(pipe, STEPS), (0,))
    assert ratios == pytest.approx((1.0, *by_hand))
    assert footprint(pipe.transformer) == before


def test_they_serve_the_rule() -> None:
    pipe = flux_pipeline()
    ratios = lab.magnitudes(pipe, lambda pipe, seeds, **_: sample_flux(pipe, STEPS))
    assert len(ratios) == STEPS and all(ratio > 0 for ratio in ratios)
    with accelerate(pipe, policy=Magnitude(ratios, threshold=1e9, limit=2, retention=0.0), forecaster="reuse") as run:
        sample_flux(pipe, STEPS)
    assert run.report.plan == "C..C.C"


def test_a_run_of_one_step_has_none() -> None:
    def draw(pipe: Any, seeds: Any, **_: Any) -> Tensor:
        return sample_dit(pipe, 1)

    assert lab.magnitudes(dit_pipeline(), draw) == (1.0,)
    with pytest.raises(InvalidOption, match="not of every step"):
        lab.magnitudes(flux_pipeline(), lambda pipe, seeds, **_: skipping(pipe))


def skipping(pipe: Any) -> Tensor:
    """A run that begins in the middle of its schedule."""
    pipe.scheduler.set_timesteps(STEPS)
    x, text = torch.zeros(1, 16, 4), torch.zeros(1, 5, 8)
    for t in pipe.scheduler.timesteps[3:]:
        pipe.transformer(
            x,
            encoder_hidden_states=text,
            pooled_projections=torch.zeros(1, 8),
            timestep=t[None] / 1000,
            img_ids=torch.zeros(16, 3),
            txt_ids=torch.zeros(5, 3),
        )
    return x
