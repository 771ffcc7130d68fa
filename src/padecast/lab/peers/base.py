"""What the lab asks of a cache of another library."""

from __future__ import annotations

import dataclasses
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from padecast._registry import Registry
from padecast.policies.knob import Knob


@dataclass(frozen=True)
class Peer(ABC):
    """A cache of another library as it is, switched on and off through its public calls.

    A frozen dataclass whose fields are its options, with that library's defaults. Those that were changed, by tuning or
    by hand, are in :meth:`settings`.
    """

    knob: ClassVar[Knob | None] = None
    """The number that is turned to reach a number of computed steps; ``None`` if :meth:`rooms` name all there is."""
    partial: ClassVar[bool] = False
    """Whether only a part of the blocks is skipped, so that computed steps say little of the cost."""
    by_context: ClassVar[bool] = False
    """Whether it tells the branches of a step by the cache context that the pipeline opens around them."""

    @abstractmethod
    def enable(self, pipe: Any, steps: int) -> None:
        """Switch it on for runs of so many steps.

        Raises:
            UnsupportedModel: If it knows nothing of the pipeline's model.
            MissingPackage: If the library is not installed.
        """

    @abstractmethod
    def disable(self, pipe: Any) -> None:
        """Switch it off as the library says."""

    def prepared(self, pipe: Any, steps: int, run: Callable[[], int]) -> Peer:
        """Return it with what it has to learn from runs of its own.

        Args:
            pipe: The pipeline.
            steps: Sampler steps.
            run: Draws a batch kept for tuning, with whatever is switched on; returns the calls of the model per step.
        """
        return self

    def rooms(self, steps: int, computed: int) -> Iterable[dict[str, Any]]:
        """Options besides the knob under which so few steps can be computed, the least change first."""
        return [{}]

    def settings(self) -> str:
        """Write the options that are not this library's defaults: ``threshold=0.2,warmup=4``."""
        changed = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if _differs(self, f)}
        return ",".join(f"{name}={value}".lower() for name, value in changed.items())


REGISTRY: Registry[Peer] = Registry("peer", Peer, pattern=re.compile(r"[a-z][a-z0-9]*([-.][a-z0-9]+)*"))
register = REGISTRY.enrol
"""Enrols a peer under a name, ``library`` or ``library.cache``: a decorator for its class."""


def _differs(peer: Peer, field: dataclasses.Field[Any]) -> bool:
    value = getattr(peer, field.name)
    return bool(value != field.default) and not isinstance(value, tuple)


def first_line(error: BaseException) -> str:
    """Return the beginning of what an error says, for a row of a table.

    Example:
        >>> first_line(ValueError("no context is set.\\nOpen one."))
        'no context is set.'
    """
    return re.split(r"\n", str(error).strip())[0][:200]
