"""How one method of one object is replaced on the instance and given back exactly, and what switches layers."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import nn

SWITCHING = threading.RLock()
"""Held by whoever puts something on models or takes it off: two threads never do so at once."""


@dataclass
class Switch:
    """Whether what was put on models acts. It is turned on once, after the last layer, and off before the first.

    Args:
        on: Whether it is on. Default false.
        lock: Held while a call of a model begins and ends, so that it is not turned off in between.
    """

    on: bool = False
    lock: Any = field(default_factory=threading.RLock)


class Layer(Protocol):
    """One thing on one object. Where an interrupt ends one of its methods, removing it again finishes the work."""

    owner: Any
    """What it is on."""

    def install(self) -> Any:
        """Put it on its owner."""

    def remove(self) -> None:
        """Take it off; nothing happens if it is not on."""


Around = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Intercept:
    """Stands in for a method of one instance; classes are never touched.

    ``around(method, args, kwargs)`` is called instead of the method that was there before, which may be another
    library's replacement. Removing it restores exactly what was there, also from the middle of several and also where
    the instance keeps it under another name, as libraries do that replaced the method since. Where another library
    holds it in some other place, it stays in that library's chain and does nothing.

    Args:
        owner: The module, or another object, whose method is replaced.
        name: The method, such as ``"forward"``.
        around: What to do instead.
    """

    # No __dict__: functools.update_wrapper would copy it into the wrappers of other libraries.
    __slots__ = ("_around", "_had_own", "_name", "owner", "previous")

    def __init__(self, owner: Any, name: str, around: Around) -> None:
        self.owner, self._name, self._had_own = owner, name, name in vars(owner)
        self._around: Around | None = around
        self.previous: Any = getattr(owner, name, None)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """What was there before: the signature to be read by others."""
        previous: Callable[..., Any] = self.previous
        return previous

    @property
    def origin(self) -> Any:
        """What was there before all of ours that lie one on the other."""
        return self._lowest.previous

    @property
    def _lowest(self) -> Intercept:
        lowest = self
        while isinstance(lowest.previous, Intercept):
            lowest = lowest.previous
        return lowest

    def stands_for_nothing(self, name: str) -> bool:
        """Whether an object that holds it under a name held nothing there before: the method was that of its class."""
        return self._lowest._name == name and not self._lowest._had_own

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model's part, or what stands in for it."""
        around = self._around  # another thread may remove it at any moment
        if around is None:
            return self.previous(*args, **kwargs)
        return around(self.previous, args, kwargs)

    def __reduce__(self) -> Any:
        """A copy, also one that another library makes or pickles, is what was there before."""
        return _same, (self.previous,)

    def install(self) -> Intercept:
        """Take the method's place, on top of whatever has it."""
        with SWITCHING:
            self._had_own = self._name in vars(self.owner)
            self.previous = getattr(self.owner, self._name, None)
            setattr(self.owner, self._name, self)
        return self

    def remove(self) -> None:
        """Give the object its method back; nothing happens if it is not there."""
        self._around = None
        with SWITCHING:
            held = vars(self.owner)
            if held.get(self._name) is self and not self._had_own:
                del held[self._name]
                return
            for name, value in list(held.items()):
                if value is self:
                    held[name] = self.previous
                while isinstance(value, Intercept):
                    if value.previous is self:
                        value._had_own = self._had_own
                        value.previous = self.previous
                    value = value.previous


def innermost(module: nn.Module) -> Any:
    """Return what holds the ``forward`` of a module that sees the features as its neighbours do.

    That is the module, unless context parallelism splits the tokens in a hook of its own on it: then it is what that
    hook calls, so that all blocks see this process's part of the tokens.
    """
    hooks = getattr(getattr(module, "_diffusers_hook", None), "hooks", {})
    splits = [hook for hook in hooks.values() if type(hook).__name__ == "ContextParallelSplitHook"]
    return splits[0].fn_ref if splits else module


def is_in_place(module: Any, name: str = "forward") -> bool:
    """Whether a method of an instance is one that stands in for it, also behind what other libraries put around it."""
    method, links = module.__dict__.get(name), 0
    while method is not None and not isinstance(method, Intercept) and links < 32:
        method, links = getattr(method, "__wrapped__", None), links + 1
    return isinstance(method, Intercept)


def _same(value: Any) -> Any:
    return value
