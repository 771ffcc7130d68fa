"""The state of a training as a file: replaced only once the new one is complete, read as data."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from padecast import files
from padecast._errors import MissingFile

FORMATS = {"channels last": torch.channels_last, "channels last 3d": torch.channels_last_3d}
OUTLINE = "state"  # the word under which a file says how its tensors make a state


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
    """Write all that a training needs to go on exactly; replaces ``path`` only once the new file is complete.

    Args:
        path: the file, in safetensors.
        parts: of the training.
        more: what else it counts or remembers, under names of its own: numbers, strings, tensors, and lists and
            dictionaries of them.

    Raises:
        UnwritableFile: the disk is full, or the file cannot be written for another reason.
    """
    state = {
        **more,
        **{name: module.state_dict() for name, module in parts.modules.items()},
        "optimizers": [optimizer.state_dict() for optimizer in parts.optimizers],
        "generator": parts.generator.get_state(),
    }
    tensors: dict[str, Tensor] = {}
    outline = json.dumps(_outlined(state, tensors))
    files.write_tensors(path, tensors, {OUTLINE: outline})


def read_state(path: Path, *, missing: str, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read what :func:`write_state` wrote.

    Args:
        path: the file.
        missing: the usual cause and the remedies, should there be none.
        device: where tensors go, default the CPU.

    Raises:
        MissingFile: there is none at ``path``.
        DamagedFile: it is no safetensors file, or of something else than a training.
    """
    if not path.exists():
        raise MissingFile(f"there is no training state at {path}.\n{missing}")
    tensors, words = files.read_tensors(path, device=device)
    try:
        state = _filled(json.loads(words[OUTLINE]), tensors)
    except (KeyError, ValueError, TypeError, IndexError, RuntimeError) as error:
        raise files.damaged(path, f"it is of no training: {type(error).__name__}: {files.line(error)}") from error
    if not isinstance(state, dict):
        raise files.damaged(path, "it is of no training")
    return state


def _outlined(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return plain data with names for tensors, which are collected; keys of dictionaries keep their types."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value
        # Fused optimizers take it that moments lie in memory as their weights do, channels last for some.
        return {"tensor": [name, *(word for word, format in FORMATS.items() if _lies(value, format))]}
    if isinstance(value, Mapping):
        return {"table": [[key, _outlined(item, tensors)] for key, item in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_outlined(item, tensors) for item in value]}
    return value


def _lies(tensor: Tensor, format: torch.memory_format) -> bool:
    """Whether a tensor lies in memory in this format, and not in the usual one."""
    right = tensor.ndim == {torch.channels_last: 4, torch.channels_last_3d: 5}[format]
    return right and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=format)


def _filled(outline: Any, tensors: Mapping[str, Tensor]) -> Any:
    if not isinstance(outline, dict):
        return outline
    ((kind, value),) = outline.items()
    if kind == "tensor":
        name, *words = value
        return tensors[name].to(memory_format=FORMATS[words[0]]) if words else tensors[name]
    if kind == "table":
        return {key: _filled(item, tensors) for key, item in value}
    parts = [_filled(item, tensors) for item in value]
    return tuple(parts) if kind == "tuple" else parts


def take_over(state: Mapping[str, Any], parts: Parts) -> None:
    """Set the parts of a training to what :func:`read_state` read."""
    for name, module in parts.modules.items():
        module.load_state_dict(state[name])
    for optimizer, held in zip(parts.optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(held)
    parts.generator.set_state(state["generator"].cpu())
