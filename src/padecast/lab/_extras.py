"""Packages that ``padecast-lab`` needs, imported when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from padecast._errors import missing


def need(module: str, purpose: str, *, extra: str = "") -> Any:
    """Import a module of a package that ``padecast-lab`` needs.

    Args:
        module: Such as ``"matplotlib.figure"``.
        purpose: What it is needed for, to begin a sentence.
        extra: Of ``padecast-lab``, that installs it. Default none: it comes with the distribution itself.

    Raises:
        MissingPackage: If the package is not installed; the message has the command.

    Example:
        >>> need("nonesuch.figure", "drawing pictures")
        Traceback (most recent call last):
            ...
        padecast._errors.MissingPackage: drawing pictures needs the package 'nonesuch', which is not installed.
        Install it with: pip install padecast-lab
    """
    package = module.split(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package:
            raise
        requirement = f"padecast-lab[{extra}]" if extra else "padecast-lab"
        raise missing(package.replace("_", "-"), requirement, purpose) from error
