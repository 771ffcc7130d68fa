"""Modules of users that register forecasters, policies, methods and models of their own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from padecast import files
from padecast._errors import InvalidOption, MissingPackage, PadecastError

_PLUGINS: dict[str, None] = {}


def list_plugins() -> tuple[str, ...]:
    """Return what was run in this process, in that order: paths of files, and names of modules."""
    return tuple(_PLUGINS)


def load_plugin(written: str) -> ModuleType:
    """Run a module of one's own, once: what it registers is known from then on.

    Args:
        written: A Python file, ``my_module.py``, or the name of a module that can be imported, ``my_package.caching``.
            It is code, and can do whatever code can.

    Returns:
        The module.

    Raises:
        MissingFile: If there is no such file; the message names the nearest.
        MissingPackage: If there is no such module, or one that it imports.
        InvalidOption: If it raises anything else; the message says what, and where.

    Example:
        >>> load_plugin("json").__name__
        'json'
    """
    if not written.endswith(".py"):
        module = _run(written, lambda: importlib.import_module(written))
        _PLUGINS[written] = None
        return module
    path = files.locate(written, "plugin")
    files.check_file(path)
    path = path.resolve()
    name = f"padecast_plugin_{path.stem}"
    before = sys.modules.get(name)
    is_loaded = before is not None and Path(str(before.__file__)) == path
    module = before if before is not None and is_loaded else _run(written, lambda: _execute(name, path))
    _PLUGINS[str(path)] = None
    return module


def _execute(name: str, path: Path) -> ModuleType:
    """Run a file as a module; nothing of it stays where it fails."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a file that ends in .py has a loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # before it runs: a dataclass looks its module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _run(written: str, execute: Callable[[], ModuleType]) -> ModuleType:
    """Run a module, and say in words what it raises."""
    try:
        return execute()
    except PadecastError as error:  # first: a MissingPackage is a ModuleNotFoundError too, and has a remedy of its own
        raise type(error)(f"the plugin {files.line(written)}: {error}") from error
    except ModuleNotFoundError as error:
        raise MissingPackage(
            f"the plugin {files.line(written)} needs the module {error.name!r}, which is not installed.\n"
            "Usual cause: a name that is written wrong, or another environment. A file is named with its ending: "
            "--plugin my_module.py"
        ) from error
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise InvalidOption(
            f"the plugin {files.line(written)} stopped with {type(error).__name__}: {error}\n"
            f"In line {where.lineno} of {files.line(Path(where.filename).name)}. Mend it, and try again."
        ) from error
