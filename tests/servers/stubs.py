"""Serving systems in this process, on a CPU: what they import on their way and no test uses is stood for by stubs."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".servers"
OMNI = FOLDER / "omni"
OURS = ("sglang", "torch", "padecast", "pynvml")
"""What is never stood for; without pynvml there is no GPU."""


def demand(package: Path) -> None:
    """Skip where a package is absent, or fail where PADECAST_SERVERS demands it."""
    if not package.is_dir():
        word = f"no serving systems in {FOLDER}: make servers"
        (pytest.fail if os.environ.get("PADECAST_SERVERS") else pytest.skip)(word)


class Stub(type):
    """A class that has whatever is asked of it, and does as a decorator."""

    def __new__(cls, name: str, bases: Any, space: dict[str, Any], **_: Any) -> Any:
        return super().__new__(cls, name, bases, {**SPACE, **space})

    def __init__(cls, name: str, bases: Any, space: dict[str, Any], **_: Any) -> None:
        super().__init__(name, bases, space)

    def __getattr__(cls, name: str) -> Any:
        return dig(cls, name)

    def __call__(cls, *args: Any, **options: Any) -> Any:
        if len(args) == 1 and callable(args[0]) and not options:
            return args[0]
        return super().__call__(*(() if cls.__init__ is object.__init__ else args))

    def __getitem__(cls, item: Any) -> Any:
        return cls

    def __or__(cls, other: Any) -> Any:
        return cls

    def __ror__(cls, other: Any) -> Any:
        return cls

    def __iter__(cls) -> Iterator[Any]:
        return iter(())


def dig(self: Any, name: str) -> Any:
    """Return an attribute that is not there."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Stub(name, (), {})


def schema(*_: Any) -> Any:
    """Let pydantic take anything."""
    from pydantic_core import core_schema

    return core_schema.any_schema()


SPACE: dict[str, Any] = {
    "__call__": lambda self, *args, **_: args[0] if args and callable(args[0]) else self,
    "__getattr__": dig,
    "__get_pydantic_core_schema__": classmethod(schema),
}


class Empty(types.ModuleType):
    """A module that has whatever is asked of it."""

    __path__: Sequence[str] = []
    __version__ = "0.0.0"

    def __getattr__(self, name: str) -> Any:
        return dig(self, name)


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds stubs of packages that are absent, where a serving system asks for them itself.

    Args:
        names: The packages, or none for all but :data:`OURS`.
    """

    def __init__(self, names: Collection[str] = ()) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        top = name.partition(".")[0]
        frame = sys._getframe(1)
        while frame.f_back is not None and "importlib" in frame.f_code.co_filename:
            frame = frame.f_back
        is_theirs = str(FOLDER) in frame.f_code.co_filename and (not self.names or top in self.names)
        is_empty = isinstance(sys.modules.get(top), Empty)
        if top in OURS or not (is_empty or (is_theirs and name == top)):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextmanager
def importable(*folders: Path, names: Collection[str] = ()) -> Iterator[None]:
    """Let serving systems be imported inside the block.

    Args:
        *folders: Where they lie.
        names: Packages that are stood for, if not all that are absent.
    """
    import diffusers  # noqa: F401 - before there are stubs, by which they would take packages to be there
    import transformers  # noqa: F401

    finder = Finder(names)
    sys.path += map(str, folders)
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for folder in folders:
            sys.path.remove(str(folder))
        for name in [name for name, module in sys.modules.items() if isinstance(module, Empty)]:
            del sys.modules[name]
