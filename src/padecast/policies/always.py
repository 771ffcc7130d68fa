"""Compute every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register


@register("always")
@dataclass(frozen=True)
class Always(Policy):
    """Compute every step: the untouched model, measured.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(Always(), 5)
        'CCCCC'
    """

    computes_all: ClassVar[bool] = True

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        return True
