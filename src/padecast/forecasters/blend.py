"""A mixture of two forecasters."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry, beside
from padecast._steps import Position
from padecast.forecasters.base import Forecaster, check_plain, pad, register
from padecast.forecasters.lagrange import Lagrange
from padecast.forecasters.reuse import Reuse


@register("blend")
@dataclass(frozen=True)
class Blend(Forecaster):
    r"""Mix the weights of two forecasters: ``w = (1 - share) * w_first + share * w_second``.

    Args:
        first: A forecaster that is weights on residuals. Default reuse.
        second: Another. Default linear extrapolation.
        share: Share of the second, in [0, 1]. Default 0.5.

    Returns:
        ``(K,)`` or ``(B, K)`` weights; they sum to one if both do.

    Raises:
        InvalidOption: If ``share`` leaves [0, 1], or a part is not weights on residuals (moments, element-wise).

    Example:
        >>> Blend().weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20)).tolist()
        [1.25, -0.25]
    """

    first: Forecaster = field(default_factory=Reuse)
    second: Forecaster = field(default_factory=Lagrange)
    share: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.share <= 1, "share", self.share, "a share between 0 and 1")
        for name, part in (("first", self.first), ("second", self.second)):
            check_plain(name, part)

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        """See :meth:`Forecaster.weights`."""
        first, second = self.first.weights(geometry, at), self.second.weights(geometry, at)
        first, second = pad(first, len(geometry)), pad(second, len(geometry))
        like = first if first.ndim > second.ndim else second
        return (1 - self.share) * beside(first, like) + self.share * beside(second, like)
