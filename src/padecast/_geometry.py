"""When remembered steps were computed, and how their residuals lie to one another."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from padecast._noise import TINY
from padecast._steps import Position


@dataclass(frozen=True)
class Geometry:
    """K remembered computed steps, newest first, and their inner products.

    Args:
        index: Step indices, newest first.
        time: Abscissae of the same steps.
        gram: ``(B, K, K)``, ``gram[b, j, k] = <R_j, R_k> / numel`` of sample b, at least float32, on the features'
            device; ``None`` if nobody asked for inner products. Where only the newest L < K residuals are kept in
            full (moment memories), it is ``(B, L, L)``.
        branch: Which conditioning remembers them, where a step has several calls; a decision for all branches has "".
        batch: Samples B that the branch holds.

    Example:
        >>> import torch
        >>> straight = Geometry.of(torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), [0, 1, 2])
        >>> straight.index, straight.stability().item()
        ((2, 1, 0), 2.0)
    """

    index: tuple[int, ...]
    time: tuple[float, ...]
    gram: Tensor | None = field(default=None, compare=False)
    branch: str = field(default="", compare=False)
    batch: int = field(default=1, compare=False)

    @classmethod
    def of(cls, residuals: Tensor, index: list[int], time: list[float] | None = None) -> Geometry:
        """Measure a ``(K, D)`` or ``(K, B, D)`` sequence of residuals given oldest first."""
        newest_first = residuals.double().flip(0)
        if newest_first.ndim == 2:
            newest_first = newest_first[:, None]
        gram = torch.einsum("jbd,kbd->bjk", newest_first, newest_first) / newest_first.shape[-1]
        times = [float(i) for i in index] if time is None else time
        return cls(tuple(reversed(index)), tuple(reversed(times)), gram, batch=len(gram))

    def __len__(self) -> int:
        return len(self.index)

    def newest(self, count: int) -> Geometry:
        """Return the same geometry over the ``count`` newest steps alone."""
        gram = None if self.gram is None else self.gram[:, :count, :count]
        return replace(self, index=self.index[:count], time=self.time[:count], gram=gram)

    def before_newest(self) -> Geometry:
        """Return the same geometry as it was before the newest step was computed."""
        gram = None if self.gram is None else self.gram[:, 1:, 1:]
        return replace(self, index=self.index[1:], time=self.time[1:], gram=gram)

    def on_host(self) -> Geometry:
        """Return the same geometry on the host, of the samples that may decide; the one time that a decision waits.

        A sample whose newest residual is not a number came in broken: no computation mends it, and it is left out,
        unless none is left. One whose residuals are infinite overflowed on the way, and stays.
        """
        if self.gram is None:
            return self
        gram = self.gram.cpu()
        sound = ~gram[:, :1, :1].isnan().flatten()
        return replace(self, gram=gram if bool(sound.all()) or not bool(sound.any()) else gram[sound])

    def joined(self, others: list[Geometry]) -> Geometry:
        """Return the geometry over the samples of all branches that remember the same steps."""
        same = [g for g in (self, *others) if g.index == self.index and g.gram is not None]
        if self.gram is None or len(same) < 2:
            return self
        joint = torch.cat([g.gram for g in same if g.gram is not None])
        return Geometry(self.index, self.time, joint, batch=len(joint))

    def quadratic(self, left: Tensor, right: Tensor) -> Tensor:
        """Return ``left^T G right`` per sample, ``(B,)``; the vectors are ``(K,)`` or ``(B, K)``.

        Raises:
            ValueError: If nobody asked for inner products.
        """
        if self.gram is None:
            raise ValueError("this geometry has no inner products: the session that made it was told not to measure")
        gram = precise(self.gram)
        left, right = beside(left, gram), beside(right, gram)
        if left.ndim == 1 and right.ndim == 1:
            return torch.einsum("j,bjk,k->b", left, gram, right)
        left, right = left.expand(gram.shape[:2]), right.expand(gram.shape[:2])
        return torch.einsum("bj,bjk,bk->b", left, gram, right)

    def distance(self, weights: Tensor, reference: Tensor) -> Tensor:
        r"""How far two forecasts lie apart, relative to the newest residual, per sample ``(B,)``.

        .. math:: d = \sqrt{(w - v)^T G (w - v) / G_{11}}
        """
        gap = weights - beside(reference, weights)
        square = self.quadratic(gap, gap)
        newest = unit(len(self), 0, like=square)
        return (square / self.quadratic(newest, newest).clamp_min(TINY)).clamp_min(0).sqrt()

    def change(self, newer: int = 0) -> Tensor:
        """Relative change ``|R_k - R_{k+1}| / |R_k + R_{k+1}|`` between two neighbours, per sample ``(B,)``."""
        first, second = unit(len(self), newer), unit(len(self), newer + 1)
        ratio = self.quadratic(first - second, first - second) / self.quadratic(
            first + second, first + second
        ).clamp_min(TINY)
        return ratio.clamp_min(0).sqrt()

    def stability(self) -> Tensor:
        r"""Trajectory stability ``1 + cos(u1, u2)`` per sample ``(B,)``, in [0, 2]; 2 is a straight line.

        ``u1 = (R1 - R2) / |R1 - R2|`` and ``u2 = (R2 - R3) / |R2 - R3|`` over the three newest residuals. The
        published indicator ``|u1 - u2| / 2`` is ``sqrt((2 - stability) / 2)``. A residual that stands still
        counts as stable, one that is not finite as ``nan``, which is at least no threshold.
        """
        last = unit(len(self), 0) - unit(len(self), 1)
        before = unit(len(self), 1) - unit(len(self), 2)
        lengths = (self.quadratic(last, last) * self.quadratic(before, before)).clamp_min(0).sqrt()
        cosine = self.quadratic(last, before) / lengths.clamp_min(TINY)
        return 1 + torch.where(lengths <= TINY, torch.ones_like(lengths), cosine).clamp(-1, 1)


def unit(size: int, place: int, like: Tensor | None = None) -> Tensor:
    """Return the ``(size,)`` float64 vector that is one at ``place``: the weights of "repeat that residual"."""
    vector = torch.zeros(size, dtype=torch.float64)
    vector[place] = 1
    return vector if like is None else beside(vector, like)


def beside(values: Tensor, like: Tensor) -> Tensor:
    """Return numbers where another tensor lies, in its dtype; those of the host without a wait for the device.

    Without ``non_blocking`` the host waits until the device has done all that it was given before.
    """
    # A few numbers in pageable memory are staged before the call returns. Of MPS that is not certain.
    at_once = values.device.type == "cpu" and like.device.type != "mps"
    return values.to(like.device, like.dtype, non_blocking=at_once)


def precise(tensor: Tensor) -> Tensor:
    """Return the tensor in float64 where its device has it, else in float32."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def by_noise(geometry: Geometry, at: Position) -> tuple[Geometry, Position]:
    r"""Return the same with abscissae that go with the noise that there is to see, in place of step indices.

    .. math:: t_i = -T \sigma_{\text{eff}, i}

    Where a model changes fast, at the start, these lie far apart, and what it says is nearly a line over them; towards
    the end they close up, and a line is hardly drawn out. Levels are those for twice the kappa here, which was chosen
    by measurement. Nothing changes where no noise levels are known, where two steps have the same one, or where the
    caller chose abscissae.

    Args:
        geometry: Of what is remembered.
        at: The step to forecast.
    """
    levels = None if at.noise is None else at.noise.abscissae
    custom = at.times is not None or at.time != at.index or geometry.time != tuple(map(float, geometry.index))
    if levels is None or custom or len(levels) != at.total:
        return geometry, at
    times = tuple(level * at.total for level in levels)
    placed = replace(geometry, time=tuple(times[index] for index in geometry.index))
    return placed, replace(at, time=times[at.index], times=times)
