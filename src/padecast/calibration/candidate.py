"""A plan with a forecaster, and what was measured of it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from statistics import fmean

from padecast import forecasters
from padecast.calibration.statistic import Statistic
from padecast.forecasters import Forecaster, Refined, Wiener
from padecast.forecasters.refined import Rows

Offsets = tuple[tuple[int, Rows], ...]


@dataclass(frozen=True)
class Candidate:
    """A plan with a forecaster, as written in the file.

    Args:
        plan: ``C`` and ``.``.
        forecaster: Registered name with options; Wiener weights read the calibration's own matrix.
        offsets: See :class:`padecast.forecasters.Refined`; none unless refined.
        retrace: Whether stretches are gone through again, see :class:`padecast.methods.Method`. Default false.
    """

    plan: str
    forecaster: str
    offsets: Offsets = ()
    retrace: bool = False

    @property
    def key(self) -> str:
        """Names the candidate among the measurements."""
        marks = f"{' retraced' if self.retrace else ''}{' refined' if self.offsets else ''}"
        return f"{self.plan} {self.forecaster}{marks}"

    def built(self, statistic: Statistic, strides: tuple[float, ...] = ()) -> Forecaster:
        """Build the forecaster with the weights of a calibration; strides are the sampler's own unless given."""
        inner = forecasters.REGISTRY.make(self.forecaster)
        if isinstance(inner, Wiener):
            gram = tuple(map(tuple, statistic.gram().tolist()))
            inner = replace(inner, gram=gram, plan=self.plan, strides=strides)
        return Refined(inner, self.offsets, names(statistic)) if self.offsets else inner


@dataclass(frozen=True)
class Measured:
    """A candidate, the PSNR of every calibration sample that it drew, in dB, and what it is chosen by."""

    candidate: Candidate
    psnr: dict[int, float]
    worth: float = 0.0

    @property
    def mean(self) -> float:
        """Mean over the samples."""
        return fmean(self.psnr.values())


def names(statistic: Statistic) -> tuple[str, ...]:
    """Return the branches that are calls of their own; none if there is one, or if they share a batch."""
    shared = any(re.search(r" part \d+$", branch) for branch in statistic.branches)
    return () if shared or len(statistic.branches) == 1 else statistic.branches


def round_offsets(offsets: Offsets) -> Offsets:
    """Return offsets as they are written in a file."""
    return tuple((i, tuple(tuple(float(f"{v:.9g}") for v in row) for row in rows)) for i, rows in offsets)
