"""The scenes pipeline as a folder: written in float16, loaded with its picture size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
from torch import nn

from ..sizes import sized
from ..training import folder as folders
from .build import assemble
from .layout import SIZE

FluxPipeline = sized(diffusers.FluxPipeline, __name__, height=SIZE, width=SIZE)


def export(parts: nn.ModuleDict, folder: Path) -> None:
    """Write the components in float16 as a folder for `FluxPipeline.from_pretrained`.

    Raises:
        ValueError: the folder is larger than 16 MiB, what a demo model may take.
    """
    folders.export(parts, folder, assemble, fewer="Recipe(layers=(2, 4), heads=6)")


def load(folder: Path | str) -> Any:
    """Load a scenes pipeline in float32, so that `pipe(caption)` draws 64 x 64 pixels.

    Args:
        folder: what training wrote: `OUT/pipeline`.

    Returns:
        A `FluxPipeline`, on the CPU, ready to call. `diffusers.FluxPipeline.from_pretrained` loads the same, but does
        not know the size of the picture, and needs `height=64, width=64` in every call.
    """
    with folders.without_bars():
        pipe = FluxPipeline.from_pretrained(folder, use_safetensors=True)
    pipe.default_sample_size = SIZE // pipe.vae_scale_factor
    return pipe
