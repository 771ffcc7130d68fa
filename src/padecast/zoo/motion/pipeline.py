"""The motion pipeline from a folder, loaded in float32 with its clips' size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers

from padecast.zoo.bars import without_bars
from padecast.zoo.motion.appearance import FRAMES
from padecast.zoo.scenes.appearance import SIZE
from padecast.zoo.sizes import sized

WanPipeline = sized(diffusers.WanPipeline, __name__, height=SIZE, width=SIZE, num_frames=FRAMES)


def load(folder: Path | str) -> Any:
    """Load a motion pipeline in float32, so that ``pipe(caption)`` draws 17 frames of 64 x 64 pixels.

    Args:
        folder: what training wrote: ``OUT/pipeline``.

    Returns:
        A ``WanPipeline``, on the CPU, ready to call. ``diffusers.WanPipeline.from_pretrained`` loads the same, but
        draws 81 frames of 480 x 832 pixels unless every call says ``height=64, width=64, num_frames=17``.
    """
    with without_bars():
        return WanPipeline.from_pretrained(folder, use_safetensors=True)
