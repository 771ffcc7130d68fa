"""What the distribution ``padecast-lab`` adds to this package, and how its absence is said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
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

        A module that is there is left to other finders, also to those of tools that ask all of them in turn.
        """
        parent, _, last = name.rpartition(".")
        if name in MODULES and not any((Path(__file__).parent.parent / parent.replace(".", "/")).glob(f"{last}*")):
            raise MissingPackage(f"{name} comes with another distribution: pip install {NAME}", name=name)


def watch() -> None:
    """Have the absence of a module of the other distribution said, whoever imports it."""
    sys.meta_path.append(Absence())
