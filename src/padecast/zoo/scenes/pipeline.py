"""The scenes pipeline as a folder: written in float16, loaded with its picture size."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers import FluxPipeline
from torch import nn

from .build import assemble
from .layout import SIZE

LARGEST = 16 * 2**20  # bytes of a whole folder


def export(parts: nn.ModuleDict, folder: Path) -> None:
    """Write the components in float16 as a folder for `FluxPipeline.from_pretrained`.

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
            "(b) train fewer blocks:         Recipe(layers=(2, 4), heads=6)"
        )


@contextmanager
def _without_bars() -> Iterator[None]:
    """Switch off the progress bars of saving and loading, and put back what was set."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    drawing = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in drawing:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in drawing:
            library.enable_progress_bar()


def _load_alike(folder: Path) -> None:
    """Edit the folder so that it loads the same with every version of its libraries.

    transformers 5 would load text encoders as they are stored, in float16, where diffusers loads the other
    components in float32. And it renames the class of our tokenizers, which transformers 4 knows by its old name only.
    """
    for encoder in ("text_encoder", "text_encoder_2"):
        _edit(folder / encoder / "config.json", dtype="float32")
    known = "PreTrainedTokenizerFast"
    names = ("tokenizer", "tokenizer_2")
    for tokenizer in names:
        _edit(folder / tokenizer / "tokenizer_config.json", tokenizer_class=known)
    _edit(folder / "model_index.json", **{tokenizer: ["transformers", known] for tokenizer in names})


def _edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}, indent=2) + "\n")


def load(folder: Path | str) -> FluxPipeline:
    """Load a scenes pipeline in float32, so that `pipe(caption)` draws 64 x 64 pixels.

    Args:
        folder: what training wrote: `OUT/pipeline`.

    Returns:
        The pipeline, on the CPU, ready to call. `FluxPipeline.from_pretrained` loads the same, but does not know
        the size of the picture, and needs `height=64, width=64` in every call.
    """
    with _without_bars():
        pipe = FluxPipeline.from_pretrained(folder)
    pipe.default_sample_size = SIZE // pipe.vae_scale_factor
    return pipe
