"""The scenes pipeline from a folder, loaded with its picture size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers

from padecast.zoo.bars import without_bars
from padecast.zoo.scenes.appearance import SIZE
from padecast.zoo.sizes import sized

FluxPipeline = sized(diffusers.FluxPipeline, __name__, height=SIZE, width=SIZE)


def load(folder: Path | str) -> Any:
    """Load a scenes pipeline in float32, so that ``pipe(caption)`` draws 64 x 64 pixels.

    Args:
        folder: what training wrote: ``OUT/pipeline``.

    Returns:
        A ``FluxPipeline``, on the CPU, ready to call. ``diffusers.FluxPipeline.from_pretrained`` loads the same, but
        does not know the size of the picture, and needs ``height=64, width=64`` in every call.
    """
    with without_bars():
        pipe = FluxPipeline.from_pretrained(folder, use_safetensors=True)
    pipe.default_sample_size = SIZE // pipe.vae_scale_factor
    return pipe
