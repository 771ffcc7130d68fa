"""How torch calls functions of ours before and after a module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from padecast._intercept import SWITCHING

HOOKS = ("_forward_pre_hooks", "_forward_hooks")
"""Where a module keeps hooks; what it notes of them lies in dictionaries whose names begin alike."""


class Hook:
    """A function that torch calls with a module.

    Torch asks about every hook when its turn comes: one that is put on or taken off meanwhile by another thread may be
    called without what it asked for. So nothing is done after it was removed, whoever still holds it.

    Args:
        owner: The module.
        register: Which of its methods takes hooks, such as ``"register_forward_hook"``.
        function: What is called.
        options: Of that method.
    """

    __slots__ = ("_function", "_options", "_register", "owner")

    def __init__(self, owner: nn.Module, register: str, function: Callable[..., Any], **options: Any) -> None:
        self.owner, self._register, self._options = owner, register, options
        self._function: Callable[..., Any] | None = function

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        function = self._function  # another thread may remove it at any moment
        return None if function is None else function(*arguments)

    def __reduce__(self) -> Any:
        """A copy does nothing."""
        return _nothing, ()

    def install(self) -> None:
        """Have it called."""
        with SWITCHING:
            getattr(self.owner, self._register)(self, **self._options)

    def remove(self) -> None:
        """Have it called no more; what torch noted of it goes first, so that it is found until nothing is left."""
        self._function = None
        with SWITCHING:
            for name in HOOKS:
                for number in numbers_of(getattr(self.owner, name), self):
                    for noted in reversed(find_dictionaries(self.owner)):
                        noted.pop(number, None)


def numbers_of(hooks: dict[int, Any], hook: Hook | None = None) -> list[int]:
    """Return under which numbers a dictionary of hooks holds one of ours, or any."""
    return [n for n, item in list(hooks.items()) if (isinstance(item, Hook) if hook is None else item is hook)]


def find_dictionaries(module: nn.Module) -> list[dict[int, Any]]:
    """Return a module's dictionaries of hooks, then those of what it notes of them."""
    notes = [vars(module)[name] for name in vars(module) if name.startswith(HOOKS) and name not in HOOKS]
    return [*(getattr(module, name) for name in HOOKS), *notes]


@functools.cache
def outside_of_graphs(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of a module of ours as compilers leave it alone; one for all, however often it is asked for."""
    disabled: Callable[..., Any] = torch.compiler.disable(function)
    return disabled


def _nothing() -> Callable[..., None]:
    return _ignore


def _ignore(*_arguments: Any) -> None:
    """Do nothing."""
