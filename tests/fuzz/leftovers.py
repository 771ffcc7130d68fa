"""What padecast has left on models and in memory."""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection
from typing import Any

from torch import Tensor, nn

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs")
HOOKS += ("_forward_hooks_always_called",)


def is_ours(thing: Any) -> bool:
    return str(getattr(type(thing), "__module__", "")).partition(".")[0] == "padecast"


def traces(model: nn.Module) -> list[str]:
    """Return what a model or a part of it holds of padecast: hooks, stand-ins for methods, anything of its classes."""
    left = []
    for name, module in model.named_modules():
        for key, value in vars(module).items():
            if is_ours(value) or (key in HOOKS and value) or key in ("forward", "cache_context"):
                left.append(f"{name}.{key}")
        if "forward" in vars(type(module)) and is_ours(type(module).forward):
            left.append(f"{type(module).__name__}.forward")
    return left


def alive(besides: Collection[Any] = ()) -> list[str]:
    """Return what has been made since ``gc.freeze`` and is still there: tensors, and everything of padecast's."""
    forget()
    gc.collect()
    kept = {id(thing) for thing in besides}
    return [
        f"{type(thing).__name__}{tuple(thing.shape) if issubclass(type(thing), Tensor) else ''}"
        for thing in gc.get_objects()
        if (issubclass(type(thing), Tensor) or is_ours(thing)) and id(thing) not in kept
    ]


def forget() -> None:
    """Empty the caches of functions, which hold so many results and no more."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "padecast":
            for function in vars(module).values():
                getattr(function, "cache_clear", lambda: None)()


def bytes_remembered() -> int:
    """Return the bytes of all histories that are there, whoever holds them, but for what an interrupt's frames held."""
    gc.collect()
    return sum(thing.nbytes for thing in gc.get_objects() if is_ours(thing) and type(thing).__name__ == "Memory")
