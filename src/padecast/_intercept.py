"""How one method of one module is replaced on the instance, and given back exactly."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

Around = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Intercept:
    """Stands in for a method of one instance; classes are never touched.

    ``around(method, args, kwargs)`` is called instead of the method that was there before, which may be another
    library's replacement. Removing it restores exactly what was there, also from the middle of several and also where
    the instance keeps it under another name, as libraries do that replaced the method since. Where another library
    holds it in some other place, it stays in that library's chain and does nothing.

    Args:
        module: The module, or another object, whose method is replaced.
        name: The method, such as ``"forward"``.
        around: What to do instead.
    """

    # No __dict__: functools.update_wrapper would copy it into the wrappers of other libraries.
    __slots__ = ("_around", "_had_own", "_module", "_name", "previous")

    def __init__(self, module: Any, name: str, around: Around) -> None:
        self._module, self._name = module, name
        self._around: Around | None = around
        self._had_own = name in module.__dict__
        self.previous: Callable[..., Any] = getattr(module, name)
        setattr(module, name, self)

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """What was there before: the signature to be read by others."""
        return self.previous

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model's part, or what stands in for it."""
        if self._around is None:
            return self.previous(*args, **kwargs)
        return self._around(self.previous, args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copied module is not accelerated: it gets a copy of what was there before."""
        return copy.deepcopy(self.previous, memo)

    def remove(self) -> None:
        """Give the module its method back."""
        self._around = None
        if self._module.__dict__.get(self._name) is self and not self._had_own:
            delattr(self._module, self._name)
            return
        for name, kept in list(self._module.__dict__.items()):
            if kept is self:
                setattr(self._module, name, self.previous)
            while isinstance(kept, Intercept):
                if kept.previous is self:
                    kept.previous, kept._had_own = self.previous, self._had_own
                kept = kept.previous


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
