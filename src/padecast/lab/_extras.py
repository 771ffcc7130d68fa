"""Packages of the extras ``lab`` and ``peers``, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from padecast._errors import missing


def need(module: str, purpose: str, *, extra: str = "lab") -> Any:
    """Import a module of an extra.

    Args:
        module: Such as ``"matplotlib.figure"``.
        purpose: What it is needed for, to begin a sentence.
        extra: That installs it. Default ``"lab"``.

    Raises:
        MissingPackage: If the package is not installed; the message has the command.

    Example:
        >>> need("nonesuch.figure", "drawing pictures")
        Traceback (most recent call last):
            ...
        padecast._errors.MissingPackage: drawing pictures needs the package 'nonesuch', which is not installed.
        Install it with: pip install "padecast[lab]"
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package:
            raise
        raise missing(package.replace("_", "-"), extra, purpose) from error
