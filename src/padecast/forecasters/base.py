"""What every forecaster promises: weights on remembered residuals, from when they were computed and how they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._options import check_types
from padecast._steps import Position
from padecast.forecasters.tokens import Tokens

if TYPE_CHECKING:
    from padecast.memory.arithmetic import Streams
    from padecast.memory.memory import Memory


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

    def __post_init__(self) -> None:
        """Check that every option is of the type that it is annotated with.

        Raises:
            InvalidOption: Naming the option, its value, and what was expected.
        """
        check_types(self)

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full."""
        return 1

    @property
    def moments(self) -> int:
        """Basis functions whose moments it wants remembered instead of more residuals."""
        return 0

    @property
    def renewed(self) -> float:
        """Share of a module's tokens that are computed at forecast steps, see :meth:`chosen`."""
        return 0.0

    def chosen(self, tokens: Tokens) -> Tensor:
        """Return which tokens of a module are computed at a forecast step, ``(B, count)``; none by default.

        Args:
            tokens: What is known of them.
        """
        return torch.zeros((tokens.age.shape[0], 0), dtype=torch.int64, device=tokens.age.device)

    @property
    def is_plain(self) -> bool:
        """Whether a forecast is weights on the remembered residuals, and nothing else."""
        return self.is_weights and not self.moments and not self.replays and not self.renewed

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
        return memory.add(entry, pad(weights, memory.kept))


def check_order(name: str, order: int) -> None:
    """Raise unless a degree or an order is one that a history can serve: every one more keeps one residual more.

    Raises:
        InvalidOption: Naming the option.
    """
    check(0 <= order <= MOST, name, order, f"0 to {MOST}")


MOST = 32
"""The highest degree or order, and the most residuals that a forecaster may want in full."""


def check_plain(name: str, part: object) -> None:
    """Raise unless an option is a forecaster whose weights another may use.

    Raises:
        InvalidOption: Naming the option.
    """
    plain = isinstance(part, Forecaster) and part.is_plain
    check(plain, name, part, "a forecaster that is weights on residuals")


def pad(weights: Tensor, size: int) -> Tensor:
    """Give older residuals weight zero, up to ``size`` of them."""
    missing = size - weights.shape[-1]
    return weights if missing <= 0 else torch.nn.functional.pad(weights, (0, missing))
