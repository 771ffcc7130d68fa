"""RA-CFGCache's rule: compute when what repetition does to the guided prediction, and to the image, adds up."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._options import is_finite
from padecast._steps import Position, Trace
from padecast.policies.base import Policy, register
from padecast.policies.magnitude import THRESHOLDS, octaves

Rows = tuple[tuple[float, ...], ...]


@register("guided-risk")
@dataclass(frozen=True)
class GuidedRisk(Policy):
    r"""Compute when the risks of repeating both branches, as guidance adds them up, would exceed a threshold.

    With ``r_j(a, b)`` how far repeating branch j from the computed step a errs at step b, of the unconditional and the
    conditional branch, and guidance scale s,

    .. math::
        r(a, b)^2 = (1 - s)^2 r_u^2 + s^2 r_c^2 + 2 s (1 - s) \rho_{a b} \, r_u r_c, \qquad
        \hat g_b = \lambda \left(\frac{T - b}{T}\right)^{\alpha} + \beta

    a step is computed if :math:`\sum_b \max(0, \hat g_b \, r(a, b)) > \tau` over the steps since the last computed one
    and this one. Errors that point the same way (``rho`` near 1) largely cancel, since ``2 s (1 - s)`` is negative.
    The branch risks are MagCache's, :math:`r_j(a, b) = |1 - \prod_{k=a+1}^{b} \mu_j(k)|`.

    Args:
        threshold: ``tau``, above 0. Default 0.3, published as the fast setting for FLUX; 0.18 as the slow one.
        scale: Guidance scale s, 0 or more. Default 1, no guidance.
        ratios: ``mu`` of every step, the first being 1: a row of the unconditional branch and one of the conditional.
            By default a branch is taken to stray evenly, ``r_j(a, b) = (b - a) / T``. The lab measures them.
        alignment: ``rho``, ``T x T`` by computed step and step; by default 1.
        gain: ``lambda, alpha, beta`` of the propagation prior. Default 0, 1, 1: all steps count alike.

    Raises:
        InvalidOption: If an option is out of range, or tables are of runs of different lengths.

    Example:
        >>> from padecast.policies import plan_of
        >>> plan_of(GuidedRisk(threshold=0.35), 10)
        'C..C..C..C'
        >>> plan_of(GuidedRisk(gain=(2.0, 1.0, 0.0)), 10)  # what is repeated early moves the image more
        'C.C.C..C..'

    Reference:
        Liu et al., "RA-CFGCache: From Branch-Level Criteria to Guided-Risk Control under Classifier-Free Guidance",
        arXiv:2609.36433, equations 11 to 17.
    """

    threshold: float = 0.3
    scale: float = 1.0
    ratios: Rows = field(default=(), repr=False)
    alignment: Rows = field(default=(), repr=False)
    gain: tuple[float, float, float] = (0.0, 1.0, 1.0)
    preparation: ClassVar[str] = "guided"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.threshold < math.inf, "threshold", self.threshold, "more than 0, and finite")
        check(0 <= self.scale < math.inf, "scale", self.scale, "0 or more, and finite")
        check(is_finite(self.gain), "gain", self.gain, "finite numbers")
        lengths = sorted({len(row) for row in self.ratios})
        sound = is_finite(self.ratios) and len(self.ratios) in (0, 2) and len(lengths) <= 1
        check(sound, "ratios", f"{len(self.ratios)} rows of {lengths}", "two rows of one length, finite")
        square = is_finite(self.alignment) and all(len(row) == len(self.alignment) for row in self.alignment)
        fits = square and (not self.alignment or not lengths or lengths == [len(self.alignment)])
        check(fits, "alignment", f"{len(self.alignment)} rows", "a finite square, as long as the ratios")

    @property
    def length(self) -> int | None:
        """Steps of the runs that it was measured on; none if it was not."""
        return len(self.ratios[0]) if self.ratios else len(self.alignment) or None

    def rooms(self, steps: int, computed: int, fixed: Collection[str]) -> Iterable[dict[str, Any]]:
        """See :meth:`Policy.rooms`."""
        if "threshold" in fixed:
            return []
        thresholds = sorted(THRESHOLDS, key=lambda value: octaves(value, self.threshold))
        return [{"threshold": float(f"{value:.4g}")} for value in thresholds]

    def check(self, total: int) -> None:
        """Raise if it was measured on runs of another length."""
        length = self.length
        check(length in (None, total), "steps of the run", total, f"{length}, those of the runs that were measured")

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        computed = geometry.index[0]
        risks = (self.gain_at(step) * self.risk(computed, step) for step in (*trace.since_computed, at))
        return not sum(max(0.0, risk) for risk in risks) <= self.threshold

    def risk(self, computed: int, at: Position) -> float:
        """Return how far repetition from a computed step errs in the guided prediction.

        Example:
            >>> rule = GuidedRisk(scale=3.0)  # both branches err alike: guidance leaves what one errs
            >>> round(rule.risk(0, Position.at(2, 10)), 6)
            0.2
        """
        first, second = (self._stray(branch, computed, at) for branch in (0, 1))
        along = self.alignment[computed][at.index] if self.alignment else 1.0
        without, guided = (1 - self.scale) * first, self.scale * second
        size = max(abs(without), abs(guided))
        if not size:
            return 0.0
        without, guided = without / size, guided / size  # squares of large scales are no numbers
        return size * math.sqrt(max(0.0, without**2 + guided**2 + 2 * along * without * guided))

    def gain_at(self, at: Position) -> float:
        """Return what an error of a step does to the image."""
        slope, power, floor = self.gain
        return slope * math.pow((at.total - at.index) / at.total, power) + floor

    def _stray(self, branch: int, computed: int, at: Position) -> float:
        if not self.ratios:
            return (at.index - computed) / at.total
        return abs(1 - math.prod(self.ratios[branch][computed + 1 : at.index + 1]))
