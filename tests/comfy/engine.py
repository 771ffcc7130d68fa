"""ComfyUI's engine in this process: where it lies, and how it is imported without a server."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import types
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / ".comfy"
HEAVY = ("torchaudio", "torchvision")
"""What the engine imports on its way and no sampler uses; where they are absent, empty modules stand for them."""


def tree() -> Path:
    """The folder of ComfyUI: a checkout that COMFYUI_PATH names, or what tools/comfy.py unpacked."""
    return Path(os.environ.get("COMFYUI_PATH") or FOLDER / "ComfyUI")


def reason() -> str:
    """Say what is missing, or nothing."""
    if not (tree() / "comfy" / "samplers.py").is_file():
        return f"no ComfyUI in {tree()}: python tools/comfy.py, or COMFYUI_PATH"
    return "" if (FOLDER / "site").is_dir() or importlib.util.find_spec("torchsde") else "ComfyUI's own packages"


def demand() -> None:
    """Skip where the engine is absent, or fail where PADECAST_COMFY demands it."""
    if sys.version_info < (3, 11):
        pytest.skip("ComfyUI's engine is tested on Python 3.11 and later")
    if missing := reason():
        (pytest.fail if os.environ.get("PADECAST_COMFY") else pytest.skip)(missing)


class Empty(types.ModuleType):
    """A module that has whatever is asked of it."""

    __path__: Sequence[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds empty modules in place of those that are absent."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if name.partition(".")[0] in HEAVY:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return Empty(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextmanager
def stand_ins() -> Iterator[None]:
    """Let absent modules be empty ones for a while, and leave none behind for who looks whether they are there."""
    # They look once, at their import, for what is there.
    for name in ("diffusers", "transformers"):
        importlib.import_module(name)
    finder = Finder()
    sys.meta_path.append(finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, Empty)]:
            del sys.modules[name]


@cache
def load() -> types.SimpleNamespace:
    """Import the engine, on the CPU, and return its modules by their names."""
    demand()
    for place in (tree(), FOLDER / "site"):
        if place.is_dir() and str(place) not in sys.path:
            sys.path.append(str(place))  # behind our own: ComfyUI has folders named utils and tests
    with stand_ins(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of imports
        arguments = importlib.import_module("comfy.cli_args").args
        arguments.cpu = True
        arguments.use_pytorch_cross_attention = True  # as on GPUs; what it takes on a CPU lasts twice as long
        names = ("samplers", "sample", "model_patcher", "supported_models", "model_management", "hooks", "controlnet")
        modules = {name: importlib.import_module(f"comfy.{name}") for name in (*names, "context_windows", "conds")}
    return types.SimpleNamespace(**modules)


@cache
def nodes(name: str) -> Any:
    """Import a module of ComfyUI's own nodes, such as ``nodes_easycache``."""
    load()
    with stand_ins(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module(f"comfy_extras.{name}")
