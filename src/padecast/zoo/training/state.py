"""The state of a training run as a file: replaced only once the new one is complete, read as data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import nn


class Parts(TypedDict):
    """What a training's state is made of.

    Args:
        model: What is trained.
        average: Its running average.
        optimizer: What trains it.
        generator: What draws for it.
    """

    model: nn.Module
    average: nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator


def write_state(path: Path, parts: Parts, **numbers: Any) -> None:
    """Write all that a training needs to go on exactly; replaces `path` only once the new file is complete.

    Args:
        path: The file.
        parts: Of the training.
        numbers: What else it counts, under names of its own.
    """
    state = {
        **numbers,
        "model": parts["model"].state_dict(),
        "average": parts["average"].state_dict(),
        "optimizer": parts["optimizer"].state_dict(),
        "generator": parts["generator"].get_state(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def read_state(path: Path, *, missing: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`write_state` wrote.

    Args:
        path: The file.
        missing: The usual cause and the remedies, should there be none.
        device: Where tensors go, default the CPU.

    Raises:
        FileNotFoundError: there is none at `path`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no training state at {path}.\n{missing}")
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def take_over(state: Mapping[str, Any], parts: Parts) -> None:
    """Set the parts of a training to what :func:`read_state` read."""
    parts["model"].load_state_dict(state["model"])
    parts["average"].load_state_dict(state["average"])
    parts["optimizer"].load_state_dict(state["optimizer"])
    parts["generator"].set_state(state["generator"].cpu())
