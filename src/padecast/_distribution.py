"""What the distribution ``padecast-lab`` adds to this package, and how its absence is said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

from padecast._errors import MissingPackage

NAME = "padecast-lab"
MODULES = ("padecast.lab", "padecast.zoo", "padecast.cli", "padecast.integrations.ray")


class Absence:
    """The last finder of modules: asked for one of ``MODULES``, it has found that none else knows it."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        """Refuse a module of the other distribution in words.

        Raises:
            MissingPackage: If it is one; the message has the command.

        Example:
            >>> Absence().find_spec("padecast.zoo")
            Traceback (most recent call last):
                ...
            padecast._errors.MissingPackage: padecast.zoo comes with another distribution: pip install padecast-lab
        """
        if name in MODULES:
            raise MissingPackage(f"{name} comes with another distribution: pip install {NAME}", name=name)


def watch() -> None:
    """Have the absence of a module of the other distribution said, whoever imports it."""
    sys.meta_path.append(Absence())
