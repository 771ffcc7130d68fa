"""SeaCache's rule: compute when what the noise does not hide has changed enough in all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.memory.arithmetic import Streams
from padecast.policies.base import Policy, register
from padecast.policies.knob import Knob

LEAST = 1e-6
"""The least amplitude of the signal; at pure noise, only the mean of the latents is then left."""


@register("sea")
@dataclass(frozen=True)
class Sea(Policy):
    r"""Compute when relative changes of the latents, less what is noise in them, add up to a threshold.

    The latents ``x_s`` of every step pass a filter over their height and width that keeps a frequency ``f`` (in cycles
    from one number to the next, at most 1/2) as far as a signal shows there in the noise of that step:

    .. math::
        c_s = \mathcal F^{-1}\!\left[\prod_{i=h,w} \frac{g_s(f_i)}{\overline{g_s}} \, \mathcal F[x_s]\right],
        \qquad g_s(f) = \frac{1}{\alpha_s^2 + \sigma_s^2 |f|^\beta}

    which is, but for a factor, the linear estimate of least error, ``alpha S / (alpha^2 S + sigma^2)``, of a signal
    with the power ``S = |f|^-beta`` in white noise, where ``x = alpha x_0 + sigma e``. Gains are divided by their mean
    over all frequencies, so that a filter at no noise changes nothing. Then, as TeaCache does,

    .. math:: \sum_s \frac{\mathrm{mean}|c_s - c_{s-1}|}{\mathrm{mean}|c_{s-1}|} \ge \delta

    over the steps since the last computed one and this one. The first and the last step are computed.

    Args:
        threshold: ``delta``, above 0. Default 0.25.
        exponent: ``beta``, above 0: how steeply the signal's power falls with the frequency. Default 2, that of natural
            images; diffusers takes 3 for videos.
        last: Whether the last step is always computed. Default true.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> from padecast._steps import Seen
        >>> at = Position(3, 20, 3.0, seen=Seen(moved=0.3))
        >>> Sea().computes(at, Trace().then(Position.at(2, 20), True), Geometry((2,), (2.0,)))
        True

    Note:
        The paper filters the input of the first block; this the model's first argument, as SeaCache in diffusers does:
        what models show of their first block is in some of them an embedding of the timestep alone, without a place for
        every token. diffusers filters clips over their frames too, and forecasts at most two steps in a row:
        ``Cap(Sea(), limit=2)``. Packed tokens are filtered over their grid where the model is told it (``img_ids``,
        ``img_shapes`` or ``height`` and ``width``). Nothing is filtered where a sample has no height and width, or the
        scheduler tells no noise levels; changes then count as they are.

    Reference:
        Chung et al., "SeaCache: Spectral-Evolution-Aware Cache for Accelerating Diffusion Models", arXiv:2602.18993.
    """

    threshold: float = 0.25
    exponent: float = 2.0
    last: bool = True
    needs_stride: ClassVar[bool] = True
    knob: ClassVar[Knob] = Knob("threshold", 1e-3, 100.0, rising=False, logarithmic=True)
    probe: ClassVar[str] = "spectrum"

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 < self.threshold < math.inf, "threshold", self.threshold, "more than 0, and finite")
        check(0 < self.exponent < math.inf, "exponent", self.exponent, "more than 0, and finite")

    def filter(self, features: Streams, at: Position) -> Streams:
        """Return the latents less what is noise in them."""
        if at.noise is None:
            return features
        alpha, sigma = at.noise.alphas[at.index], at.noise.sigmas[at.index]
        return tuple(denoise(x, alpha, sigma, self.exponent) if x.ndim > 3 else x for x in features)

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Policy.computes`."""
        if self.last and at.is_last:
            return True
        return not sum(p.seen.moved for p in (*trace.since_computed, at) if p.seen is not None) < self.threshold


def denoise(x: Tensor, alpha: float, sigma: float, exponent: float) -> Tensor:
    """Filter features over their last two dimensions.

    Args:
        x: ``(..., H, W)``.
        alpha: Amplitude of the signal.
        sigma: Amplitude of the noise.
        exponent: How steeply the signal's power falls with the frequency.

    Returns:
        The same shape, at least in float32.
    """
    x = x if x.dtype in (torch.float32, torch.float64) else x.float()
    height, width = (gains(size, alpha, sigma, exponent, like=x) for size in x.shape[-2:])
    spectrum = torch.fft.rfft2(x) * height[:, None] * width[: len(width) // 2 + 1]
    filtered: Tensor = torch.fft.irfft2(spectrum, s=x.shape[-2:])
    return filtered


def gains(size: int, alpha: float, sigma: float, exponent: float, like: Tensor | None = None) -> Tensor:
    """Return by how much every frequency of an axis is multiplied, ``(size,)``, in the order of ``torch.fft``.

    Args:
        size: Numbers along the axis.
        alpha: Amplitude of the signal.
        sigma: Amplitude of the noise.
        exponent: How steeply the signal's power falls with the frequency.
        like: A tensor of the same device and dtype. Default float32 on the CPU.

    Example:
        >>> gains(4, 1.0, 0.0, 2.0), [round(gain, 2) for gain in gains(4, 0.5, 0.5, 2.0).tolist()]
        (tensor([1., 1., 1., 1.]), [1.09, 1.02, 0.87, 1.02])
    """
    dtype, device = (torch.float32, None) if like is None else (like.dtype, like.device)
    power = torch.fft.fftfreq(size, dtype=dtype, device=device).abs() ** exponent
    gain: Tensor = 1 / (max(alpha, LEAST) ** 2 + sigma**2 * power)
    return gain.div(gain.mean())
