"""The state of a training as a file: replaced only once the new one is complete, read as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Parts:
    """What a training's state is made of.

    Args:
        modules: what is trained, its running average, and heads that are thrown away, by name.
        optimizers: what trains them.
        generator: what draws for it.
    """

    modules: Mapping[str, nn.Module]
    optimizers: Sequence[torch.optim.Optimizer]
    generator: torch.Generator


def write_state(path: Path, parts: Parts, **more: Any) -> None:
    """Write all that a training needs to go on exactly; replaces `path` only once the new file is complete.

    Args:
        path: the file.
        parts: of the training.
        more: what else it counts or remembers, under names of its own: numbers, strings, tensors, and lists and
            dictionaries of them.
    """
    state = {
        **more,
        **{name: module.state_dict() for name, module in parts.modules.items()},
        "optimizers": [optimizer.state_dict() for optimizer in parts.optimizers],
        "generator": parts.generator.get_state(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(path)


def read_state(path: Path, *, missing: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`write_state` wrote.

    Args:
        path: the file.
        missing: the usual cause and the remedies, should there be none.
        device: where tensors go, default the CPU.

    Raises:
        FileNotFoundError: there is none at `path`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no training state at {path}.\n{missing}")
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def take_over(state: Mapping[str, Any], parts: Parts) -> None:
    """Set the parts of a training to what :func:`read_state` read."""
    for name, module in parts.modules.items():
        module.load_state_dict(state[name])
    for optimizer, held in zip(parts.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(held)
    parts.generator.set_state(state["generator"].cpu())
