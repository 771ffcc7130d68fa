"""How one module's forward is replaced on the instance, and given back exactly."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from torch import nn

Around = Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


class Intercept:
    """Stands in for ``module.forward`` on one instance; classes are never touched.

    ``around(forward, args, kwargs)`` is called instead of the forward that was there before, which may be another
    library's replacement. Removing it restores exactly what was there, also from the middle of several; where another
    library has replaced the forward since, it stays in that library's chain and does nothing.

    Args:
        module: The module whose forward is replaced.
        around: What to do instead.
    """

    def __init__(self, module: nn.Module, around: Around) -> None:
        self._module, self._around = module, around
        self._had_own = "forward" in module.__dict__
        self.previous: Callable[..., Any] = module.forward
        self.active = True
        functools.update_wrapper(self, self.previous, updated=())
        module.forward = self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the model's part, or what stands in for it."""
        if not self.active:
            return self.previous(*args, **kwargs)
        return self._around(self.previous, args, kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """A copied module is not accelerated: it gets a copy of what was there before."""
        return copy.deepcopy(self.previous, memo)

    def remove(self) -> None:
        """Give the module its forward back."""
        self.active = False
        current: Any = self._module.__dict__.get("forward")
        if current is self:
            if self._had_own:
                self._module.forward = self.previous
            else:
                del self._module.forward
            return
        while isinstance(current, Intercept):
            if current.previous is self:
                current.previous, current._had_own = self.previous, self._had_own
                return
            current = current.previous
