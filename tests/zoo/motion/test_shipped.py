"""The motion model that ships: it draws what captions say, and is a Wan pipeline to others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import WanPipeline

from demos.motion.check import sample, shares
from padecast import zoo
from padecast.zoo.motion.grammar import draw

FOLDER = Path(zoo.__file__).parent / "weights" / "motion"


@pytest.mark.slow
def test_unseen_captions_are_obeyed_by_what_from_pretrained_loads() -> None:
    pipe = WanPipeline.from_pretrained(FOLDER)
    pipe.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(6)
    clips = [draw(generator, held_out=True) for _ in range(6)]
    found = shares(clips, sample(pipe, clips, steps=8, guidance=3.0, length=512, seed=600))
    assert found["all"] >= 4 / 6, found  # docs/motion.md has the shares of 100
