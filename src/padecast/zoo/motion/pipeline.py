"""The motion pipeline as a folder: written in float16, loaded in float32."""

from __future__ import annotations

from pathlib import Path

from diffusers import WanPipeline
from torch import nn

from ..training import folder as folders
from .build import assemble


def export(parts: nn.ModuleDict, folder: Path) -> None:
    """Write the components in float16 as a folder for `WanPipeline.from_pretrained`.

    Raises:
        ValueError: the folder is larger than 16 MiB, what a demo model may take.
    """
    folders.export(parts, folder, assemble, fewer="Recipe(layers=8, heads=4)")


def load(folder: Path | str) -> WanPipeline:
    """Load a motion pipeline in float32, on the CPU, ready to call.

    It draws `height=64, width=64, num_frames=17`, which every call has to say: `WanPipeline` keeps no other default
    than its own, 81 frames of 480 x 832 pixels.

    Args:
        folder: what training wrote: `OUT/pipeline`.
    """
    with folders.without_bars():
        return WanPipeline.from_pretrained(folder, use_safetensors=True)
