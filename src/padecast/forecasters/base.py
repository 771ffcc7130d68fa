"""What every forecaster promises: weights on remembered residuals, from when they were computed and how they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from padecast._history import Geometry, Position

if TYPE_CHECKING:
    from padecast._memory import Memory
    from padecast._mix import Streams


@dataclass(frozen=True)
class Forecaster(ABC):
    """A rule that gives every remembered residual a weight: ``R(t) = sum_k w_k R_k``.

    A forecaster is a frozen dataclass whose fields are its options; it holds no state, sees no feature, and works
    with as few as one remembered residual (by repeating it).

    Example:
        >>> @dataclass(frozen=True)
        ... class Mean(Forecaster):
        ...     window = 3
        ...     def weights(self, geometry, at):
        ...         return torch.full((len(geometry),), 1 / len(geometry), dtype=torch.float64)
        >>> Mean().weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20)).tolist()
        [0.5, 0.5]
    """

    needs_gram: ClassVar[bool] = False
    """Whether the weights read the Gram matrix."""
    needs_stride: ClassVar[bool] = False
    """Whether the weights read ``Position.strides``; the noise levels are then read once per run."""
    sums_to_one: ClassVar[bool] = True
    """Whether the weights sum to one, so that a residual that stands still is forecast exactly."""
    is_weights: ClassVar[bool] = True
    """Whether the forecast is weights; the few published methods that are not override :meth:`forecast`."""
    replays: ClassVar[bool] = False
    """Whether the stack is run at forecast steps too (the oracle)."""

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return 1

    @property
    def moments(self) -> int:
        """Basis functions whose moments it wants remembered instead of more residuals."""
        return 0

    @abstractmethod
    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """Return the weights for a step.

        Args:
            geometry: At least one remembered step, newest first, with a Gram matrix if ``needs_gram``.
            at: The step to forecast.

        Returns:
            ``(K,)`` float64 on the host, or ``(B, K)`` on the Gram matrix's device, newest first.
        """

    def basis(self, at: Position) -> Tensor | None:
        """Return the ``(moments,)`` basis functions at a computed step, or ``None`` without moments."""
        return None

    def forecast(
        self, memory: Memory, geometry: Geometry, entry: Streams, at: Position, weights: Tensor | None
    ) -> Streams:
        """Return ``entry + R(t)``. Override it only for memories or methods that are not weights on residuals.

        Args:
            memory: What the branch remembers.
            geometry: The same without features.
            entry: The stack's current inputs, one tensor ``(B, ...)`` per stream.
            at: The step to forecast.
            weights: What :meth:`weights` said; ``None`` if the method is not weights.
        """
        assert weights is not None
        return memory.add(entry, fitted(weights, memory.kept))


def fitted(weights: Tensor, size: int) -> Tensor:
    """Give older residuals weight zero, up to ``size`` of them."""
    missing = size - weights.shape[-1]
    return weights if missing <= 0 else torch.nn.functional.pad(weights, (0, missing))
