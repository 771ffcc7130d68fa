"""The pipeline as a folder: written in float16, within a size, and so that every version of its libraries loads it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from padecast import files
from padecast.zoo.bars import without_bars

LARGEST = 16 * 2**20  # bytes of a whole folder
TOKENIZER = "PreTrainedTokenizerFast"  # the class, by the name that every version of transformers knows


def export(parts: nn.ModuleDict, folder: Path, assemble: Callable[[nn.ModuleDict], Any], *, fewer: str) -> None:
    """Write components in float16 as a folder for the ``from_pretrained`` of their pipeline.

    Args:
        parts: the components; they stay as they are.
        folder: to write.
        assemble: makes the pipeline of the components.
        fewer: a recipe whose pipeline fits, for the error.

    Raises:
        ValueError: the folder is larger than 16 MiB, what a demo model may take.
    """
    halved = copy.deepcopy(parts).to("cpu", torch.float16)
    with files.staged(folder) as staged:
        with without_bars():
            assemble(halved.eval()).save_pretrained(staged)
        load_alike(staged)
    total = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if total > LARGEST:
        raise ValueError(
            f"the pipeline in {folder} takes {total} bytes, but a demo model may take {LARGEST}.\n"
            "Usually blocks or channels were added, or files of another model are left in the folder. Either\n"
            "(a) write to an empty folder:   --out DIR\n"
            f"(b) train fewer blocks:         {fewer}"
        )


def load_alike(folder: Path) -> None:
    """Edit a pipeline folder so that it loads the same with every version of its libraries.

    transformers 5 would load text encoders as they are stored, in float16, where diffusers loads the other
    components in float32. And it renames the class of our tokenizers, which transformers 4 knows by its old name only.
    """
    names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    tokenizers = [name for name in names if name.startswith("tokenizer")]
    for encoder in (name for name in names if name.startswith("text_encoder")):
        edit(folder / encoder / "config.json", dtype="float32")
    for tokenizer in tokenizers:
        edit(folder / tokenizer / "tokenizer_config.json", tokenizer_class=TOKENIZER)
    edit(folder / "model_index.json", **{tokenizer: ["transformers", TOKENIZER] for tokenizer in tokenizers})


def edit(path: Path, **changes: Any) -> None:
    """Change some entries of a JSON file."""
    files.write(path, json.dumps({**files.read_json(path), **changes}, indent=2) + "\n")
