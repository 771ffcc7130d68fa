"""The motion pipeline as a folder: written in float16, loaded in float32 with its clips' size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
from torch import nn

from ..scenes.layout import SIZE
from ..sizes import sized
from ..training import folder as folders
from .build import assemble
from .course import FRAMES

WanPipeline = sized(diffusers.WanPipeline, __name__, height=SIZE, width=SIZE, num_frames=FRAMES)


def export(parts: nn.ModuleDict, folder: Path) -> None:
    """Write the components in float16 as a folder for `WanPipeline.from_pretrained`.

    Raises:
        ValueError: the folder is larger than 16 MiB, what a demo model may take.
    """
    folders.export(parts, folder, assemble, fewer="Recipe(layers=8, heads=4)")


def load(folder: Path | str) -> Any:
    """Load a motion pipeline in float32, so that `pipe(caption)` draws 17 frames of 64 x 64 pixels.

    Args:
        folder: what training wrote: `OUT/pipeline`.

    Returns:
        A `WanPipeline`, on the CPU, ready to call. `diffusers.WanPipeline.from_pretrained` loads the same, but draws
        81 frames of 480 x 832 pixels unless every call says `height=64, width=64, num_frames=17`.
    """
    with folders.without_bars():
        return WanPipeline.from_pretrained(folder, use_safetensors=True)
