"""Tensors in files: safetensors alone, which hold numbers and words and nothing that runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from padecast.files.reading import check_file, damaged
from padecast.files.text import line
from padecast.files.writing import write

if TYPE_CHECKING:  # files are read by commands that need no torch, which takes seconds to import
    import torch
    from torch import Tensor, nn


def write_tensors(path: Path, tensors: Mapping[str, Tensor], words: Mapping[str, str] | None = None) -> Path:
    """Write tensors, and words beside them, as a safetensors file that is whole or as it was before.

    Raises:
        UnwritableFile: If it cannot be written; the message says why.
    """
    from safetensors.torch import save

    separate = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    return write(path, save(separate, metadata=dict(words or {"format": "pt"})))


def read_tensors(path: Path, *, device: str | torch.device = "cpu") -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file, and its words.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it is no safetensors file, or is cut off.
    """
    from safetensors import SafetensorError, safe_open

    check_file(path)
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dictionary
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError, RuntimeError, TypeError, KeyError) as error:
        raise damaged(path, f"it is no safetensors file: {line(error)}") from error


def load_weights(module: nn.Module, path: Path) -> None:
    """Give a module the weights of a safetensors file.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it is no safetensors file, or its weights are those of another module.
    """
    tensors, _ = read_tensors(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise damaged(path, f"it holds other weights: {line(error)}") from error
