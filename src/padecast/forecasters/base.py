"""What every forecaster promises: weights on remembered residuals, from when they were computed and how they lie."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._options import check_types, parts_of
from padecast._registry import Registry
from padecast._steps import Position
from padecast.forecasters.extras import Extra
from padecast.memory.arithmetic import pad as pad


@dataclass(frozen=True)
class Forecaster(ABC):
    """A rule that gives every remembered residual a weight: ``R(t) = sum_k w_k R_k``.

    A forecaster is a frozen dataclass whose fields are its options; it holds no state, sees no feature, and works
    with as few as one remembered residual (by repeating it). An option may be a forecaster itself. Besides
    :meth:`weights` there are four facts and an extra, each a property or a class attribute, with defaults.

    Example:
        >>> import torch
        >>> @dataclass(frozen=True)
        ... class Mean(Forecaster):
        ...     window = 3
        ...     def weights(self, geometry, at):
        ...         return torch.full((len(geometry),), 1 / len(geometry), dtype=torch.float64)
        >>> Mean().weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20)).tolist()
        [0.5, 0.5]
    """

    def __post_init__(self) -> None:
        """Check that every option is of the type that it is annotated with.

        Raises:
            InvalidOption: Naming the option, its value, and what was expected.
        """
        check_types(self)

    @property
    def _parts(self) -> list[Forecaster]:
        return parts_of(self, Forecaster)

    @property
    def needs_gram(self) -> bool:
        """Whether the weights read the Gram matrix; by default, if those of a part do."""
        return any(part.needs_gram for part in self._parts)

    @property
    def needs_stride(self) -> bool:
        """Whether they read ``Position.strides``, or a part's do; the noise levels are then read once per run."""
        return any(part.needs_stride for part in self._parts)

    @property
    def sums_to_one(self) -> bool:
        """Whether the weights sum to one, so that a residual that stands still is forecast exactly.

        By default, if those of all parts do. A run whose sums are far from one although it says so warns.
        """
        return all(part.sums_to_one for part in self._parts)

    @property
    def window(self) -> int:
        """Residuals it wants remembered in full; by default, as many as its parts, and one at least."""
        return max((part.window for part in self._parts), default=1)

    @property
    def extra(self) -> Extra | None:
        """What it does besides weights on residuals, or instead; nothing by default."""
        return None

    @abstractmethod
    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """Return the weights for a step.

        Args:
            geometry: At least one remembered step, newest first, with a Gram matrix if ``needs_gram``.
            at: The step to forecast.

        Returns:
            ``(K,)`` float64 on the host, or ``(B, K)`` on the Gram matrix's device, newest first.
        """


Part = TypeVar("Part", bound=Forecaster)
REGISTRY: Registry[Forecaster] = Registry("forecaster", Forecaster)


def register(name: str) -> Callable[[type[Part]], type[Part]]:
    """Enrol a forecaster of one's own under a name: a decorator for its class.

    Methods, command line and experiments then know it by that name, with its fields as options.

    Args:
        name: Small letters, digits and dashes, beginning with a letter.

    Raises:
        InvalidOption: If the name is taken or no name, or the class is no frozen dataclass of a forecaster.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> @register("mean-of-two")
        ... @dataclass(frozen=True)
        ... class MeanOfTwo(Forecaster):
        ...     window = 2
        ...     def weights(self, geometry, at):
        ...         return torch.full((len(geometry),), 1 / len(geometry), dtype=torch.float64)
        >>> REGISTRY.make("mean-of-two")
        MeanOfTwo()
        >>> REGISTRY.remove("mean-of-two")
    """
    return REGISTRY.enrol(name)


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
    check(isinstance(part, Forecaster) and part.extra is None, name, part, "a forecaster that is weights on residuals")
