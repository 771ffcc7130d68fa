"""The motion pipeline as a folder: written in float16, loaded in float32."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from diffusers import WanPipeline
from torch import nn

from ..scenes.pipeline import LARGEST, _edit, _without_bars
from .build import assemble
from .tokens import KNOWN


def export(parts: nn.ModuleDict, folder: Path) -> None:
    """Write the components in float16 as a folder for `WanPipeline.from_pretrained`.

    Raises:
        ValueError: the folder is larger than 16 MiB, what a demo model may take.
    """
    halved = copy.deepcopy(parts).to("cpu", torch.float16)
    with _without_bars():
        assemble(halved.eval()).save_pretrained(folder)
    _load_alike(folder)
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if total > LARGEST:
        raise ValueError(
            f"the pipeline in {folder} takes {total} bytes, but a demo model may take {LARGEST}.\n"
            "Usually blocks or channels were added, or files of another model are left in the folder. Either\n"
            "(a) write to an empty folder:   --out DIR\n"
            "(b) train fewer blocks:         Recipe(layers=8, heads=4)"
        )


def _load_alike(folder: Path) -> None:
    """Edit the folder so that it loads the same with every version of its libraries.

    transformers 5 would load the text encoder as it is stored, in float16, where diffusers loads the other components
    in float32. And it renames the class of our tokenizer, which transformers 4 knows by its old name only.
    """
    _edit(folder / "text_encoder" / "config.json", dtype="float32")
    _edit(folder / "tokenizer" / "tokenizer_config.json", tokenizer_class=KNOWN)
    _edit(folder / "model_index.json", tokenizer=["transformers", KNOWN])


def load(folder: Path | str) -> WanPipeline:
    """Load a motion pipeline in float32, on the CPU, ready to call.

    It draws `height=64, width=64, num_frames=17`, which every call has to say: `WanPipeline` keeps no other default
    than its own, 81 frames of 480 x 832 pixels.

    Args:
        folder: what training wrote: `OUT/pipeline`.
    """
    with _without_bars():
        return WanPipeline.from_pretrained(folder)
