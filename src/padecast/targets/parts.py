"""Parts of a model by the paths that descriptions name, and the arguments that they take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn


def lookup(model: nn.Module, path: str) -> Sequence[nn.Module]:
    """Return the modules that a path names: a list, a slice of one, or a single module; the model itself for ``""``.

    Example:
        >>> model = nn.Module()
        >>> model.blocks, model.middle = nn.ModuleList([nn.ReLU(), nn.Tanh()]), nn.Identity()
        >>> lookup(model, "blocks[1:]"), lookup(model, "middle")
        ([Tanh()], [Identity()])
        >>> lookup(model, "absent")
        []
    """
    name, _, part = path.rstrip("]").partition("[")
    node: Any = model
    for step in name.split(".") if name else ():
        node = getattr(node, step, None)
    modules = list(node) if isinstance(node, nn.ModuleList) else [node] if isinstance(node, nn.Module) else []
    if not part:
        return modules
    start, stop = (int(number) if number else None for number in part.split(":"))
    return modules[start:stop]


def parameters_of(module: nn.Module) -> tuple[str, ...]:
    """Return the names of the arguments of a module's own forward, whoever replaced it on the instance."""
    return _parameters(type(module).forward)


@functools.cache
def _parameters(function: Callable[..., Any]) -> tuple[str, ...]:
    return tuple(inspect.signature(function).parameters)[1:]
