"""TC-Padé's predictor as the paper prints it, element by element, for comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from padecast._geometry import Geometry, precise, unit
from padecast._steps import Position
from padecast.forecasters.extras import Direct

if TYPE_CHECKING:
    from padecast.memory.arithmetic import Streams
    from padecast.memory.memory import Memory

EARLY, LATE = 0.3, 0.8
"""Shares of the schedule at which the stage rules end and begin."""


@dataclass(frozen=True)
class Printed(Direct):
    r"""The published form of :class:`padecast.forecasters.TCPade`; with fewer than three residuals, repetition.

    .. math:: R(t) = \frac{b_0 R_1 + b_1 R_2}{1 + a_1 R_3}, \qquad
              b_0 = 2 \sigma, \quad b_1 = -\sigma, \quad a_1 = \sigma / \lambda

    element by element, read newest first, with ``sigma`` of :func:`trust` and ``lambda = 10``. Early on it is
    ``0.9 R_1 + 0.1 R_2`` instead, and late ``0.3 (R_1 - R_2)`` is added.

    Note:
        Its faults: as printed its index order weights the oldest residual most; with ``sigma < 1`` the numerator
        shrinks the residual instead of falling back to repetition; and ``1 + a1 R`` depends on the scale of the
        features and has poles at ``R = -1 / a1``. It is here so that the comparison can be repeated, and is no
        method's default.

    Reference:
        Cui et al., "TC-Padé: Trajectory-Consistent Padé Approximation for Diffusion Acceleration", arXiv:2603.02943.
    """

    window: ClassVar[int] = 3
    damping: ClassVar[float] = 10.0
    early: ClassVar[float] = 0.1
    late: ClassVar[float] = 0.3

    def forecast(self, memory: Memory, geometry: Geometry, entry: Streams, at: Position) -> Streams:
        """See :meth:`Direct.forecast`."""
        if len(geometry) < self.window:
            return memory.add(entry, unit(memory.kept, 0))
        sigma = trust(geometry, self.damping)
        streams = zip(entry, *memory.residuals()[: self.window], strict=True)
        return tuple(x + self.predict(sigma, (r1, r2, r3), at).to(x.dtype) for x, r1, r2, r3 in streams)

    def predict(self, sigma: Tensor, residuals: tuple[Tensor, Tensor, Tensor], at: Position) -> Tensor:
        """Return the predicted residual, in at least float32.

        Args:
            sigma: ``(B,)``.
            residuals: The three newest, newest first, ``(B, ...)`` each.
            at: The step to forecast.
        """
        r1, r2, r3 = (r.to(torch.promote_types(r.dtype, torch.float32)) for r in residuals)
        if at.index < EARLY * at.total:
            return (1 - self.early) * r1 + self.early * r2
        s = sigma.to(r1).reshape(-1, *(1,) * (r1.ndim - 1))
        rational = (2 * s * r1 - s * r2) / (1 + s / self.damping * r3)
        return rational + self.late * (r1 - r2) if at.index >= LATE * at.total else rational


def trust(geometry: Geometry, damping: float) -> Tensor:
    """Return ``sigma = exp(-damping |R1 - R2| / |R1 + R2|)`` per sample, ``(B,)``."""
    assert geometry.gram is not None
    if damping == 0:
        return torch.ones_like(precise(geometry.gram)[:, 0, 0])
    return torch.exp(-damping * geometry.change())
