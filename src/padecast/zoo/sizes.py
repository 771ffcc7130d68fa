"""Pipelines that know how large a picture their model was trained to draw."""

from __future__ import annotations

import functools
import inspect
from typing import Any


def sized(kind: Any, module: str, **sizes: float) -> Any:
    """Return a pipeline class whose call has these defaults; in all else it is the class, and has its name.

    It keeps the name, so that a saved folder names a class that diffusers has, and lies in a module under that name,
    so that pipelines pickle.

    Args:
        kind: A class of pipelines.
        module: Where it will lie, ``__name__`` of the caller.
        sizes: Arguments of its call, such as ``height=64``.

    Example:
        >>> class Pipe:
        ...     def __call__(self, prompt, height=480, width=832):
        ...         return height, width
        >>> small = sized(Pipe, "padecast", height=64)()
        >>> small("a red fox"), small("a red fox", 32), inspect.signature(small).parameters["height"].default
        ((64, 832), (32, 832), 64)
    """
    usual = kind.__call__
    signature = inspect.signature(usual)

    @functools.wraps(usual)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        given = signature.bind_partial(self, *args, **kwargs).arguments
        return usual(self, *args, **kwargs, **{name: size for name, size in sizes.items() if name not in given})

    parameters = [p.replace(default=sizes.get(p.name, p.default)) for p in signature.parameters.values()]
    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    body = {"__call__": call, "__module__": module, "__qualname__": kind.__name__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind,), body)
