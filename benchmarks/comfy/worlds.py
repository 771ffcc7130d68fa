"""The demo models in ComfyUI's own classes, in the settings that are measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from tests.comfy import demos, models
from torch import Tensor

from benchmarks.common import captions
from padecast import Report
from padecast.integrations import comfy

STEPS, FIRST = 20, 20_000
"""Of a run; and the first of the seeds on which nothing was chosen."""


class World(NamedTuple):
    """A demo model in ComfyUI, in a setting.

    Args:
        name: Of the demo model.
        model: Builds it.
        encode: Makes conditioning of a caption.
        shape: Of its latents.
        kind: Of ComfyUI's classes.
        cfg: Guidance scale of the sampler.
        show: Decodes latents.
    """

    name: str
    model: Callable[[], Any]
    encode: Callable[[str], models.Conditioning]
    shape: tuple[int, ...]
    kind: models.Kind
    cfg: float
    show: Callable[[Tensor], Tensor]


def _scenes(shift: float, guidance: float) -> World:
    def encode(caption: str) -> models.Conditioning:
        return demos.encode_scene(caption, guidance)

    shape = (4, 16, 16)
    return World("scenes", lambda: demos.scenes(math.log(shift)), encode, shape, models.FLUX, 1.0, demos.show_scene)


def _motion(shift: float, guidance: float) -> World:
    shape = (16, 5, 8, 8)
    return World("motion", lambda: demos.motion(shift), demos.encode_clip, shape, models.WAN, guidance, demos.show_clip)


WORLDS = {
    "scenes": _scenes(3.0, 3.5),
    "scenes:matched": _scenes(0.2, 5.0),
    "motion": _motion(3.0, 3.0),
    "motion:matched": _motion(0.25, 5.0),
}
"""Shift and guidance are those of padecast.zoo.worlds."""


class Case(NamedTuple):
    """What one picture is drawn of.

    Args:
        prompt: Caption.
        seed: Of the noise.
    """

    prompt: str
    seed: int


def cases(world: World, count: int, first: int = FIRST, *, held_out: bool = True) -> tuple[Case, ...]:
    """Return captions that training never saw, or did, with a seed each."""
    prompts = captions(world.name, count, held_out=held_out)
    return tuple(Case(prompt, first + place) for place, prompt in enumerate(prompts))


def draw(world: World, model: Any, case: Case, sampler: str = "euler", steps: int = STEPS) -> Tensor:
    """Return a picture."""
    noise = models.draw_noise(world.kind, case.seed, shape=world.shape)
    run = models.Run(
        world.kind,
        sampler,
        steps=steps,
        cfg=world.cfg,
        positive=world.encode(case.prompt),
        negative=world.encode(""),
        noise=noise,
        seed=case.seed,
    )
    return world.show(demos.latents_of(model, models.sample(model, run)))


def draw_all(
    world: World, model: Any, drawn: Sequence[Case], sampler: str = "euler", steps: int = STEPS
) -> tuple[Tensor, list[Report]]:
    """Return pictures, and the reports of the runs of a model that padecast is on."""
    pictures, reports = [], []
    for case in drawn:
        pictures.append(draw(world, model, case, sampler, steps))
        report = comfy.report_of(model)
        if report is not None:
            reports.append(report)
    return torch.cat(pictures), reports
