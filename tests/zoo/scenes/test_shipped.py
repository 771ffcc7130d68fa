"""The scenes model that ships: it draws what captions say, and is a FLUX pipeline to others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from torch import Tensor

from demos.scenes.check import sample, shares
from padecast import zoo
from padecast.zoo.scenes.grammar import draw, parse
from padecast.zoo.scenes.judge import obeyed
from padecast.zoo.scenes.read import read

FOLDER = Path(zoo.__file__).parent / "weights" / "scenes"
CAPTION = "a large red circle left of a small blue square"


@pytest.fixture(scope="module")
def pipe() -> FluxPipeline:
    loaded: FluxPipeline = zoo.load("scenes")
    loaded.set_progress_bar_config(disable=True)
    return loaded


@pytest.mark.slow
def test_unseen_captions_are_obeyed(pipe: FluxPipeline) -> None:
    generator = torch.Generator().manual_seed(6)
    scenes = [draw(generator, held_out=True) for _ in range(16)]
    found = shares(scenes, sample(pipe, scenes, steps=8, guidance=3.5, length=32, seed=600))
    assert found["all"] >= 0.75 and found["background"] >= 0.9, found  # of 16; docs/scenes.md has the shares of 200


@pytest.mark.slow
def test_from_pretrained_and_the_defaults_of_flux_draw_a_caption() -> None:
    pipe = FluxPipeline.from_pretrained(FOLDER)
    pipe.set_progress_bar_config(disable=True)
    images = pipe([CAPTION] * 2, height=64, width=64, generator=torch.manual_seed(1), output_type="pt").images
    seen = [obeyed(parse(CAPTION), reading) for reading in read(images.float())]
    assert any(one["all"] for one in seen), seen


def test_guidance_is_distilled(pipe: FluxPipeline) -> None:
    """Another scale is another picture, in one call of the transformer."""
    images = [draw_once(pipe, guidance) for guidance in (1.0, 3.5)]
    assert float((images[0] - images[1]).abs().mean()) > 1e-3


def draw_once(pipe: FluxPipeline, guidance: float) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    arguments = {"num_inference_steps": 6, "max_sequence_length": 32, "output_type": "pt"}
    images: Tensor = pipe(CAPTION, guidance_scale=guidance, generator=generator, **arguments).images
    return images
