"""Small samplers that are called as those of k-diffusion are: one for every way in which steps and calls can lie."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Denoiser = Callable[..., Tensor]


def _slope(model: Denoiser, x: Tensor, sigma: Tensor, told: dict[str, Any]) -> tuple[Tensor, Tensor]:
    denoised = model(x, sigma * x.new_ones(len(x)), **told)
    return denoised, (x - denoised) / sigma


def euler(model: Denoiser, x: Tensor, sigmas: Tensor, extra_args: Any = None, callback: Any = None, **_: Any) -> Tensor:
    for i in range(len(sigmas) - 1):
        denoised, slope = _slope(model, x, sigmas[i], extra_args or {})
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        x = x + slope * (sigmas[i + 1] - sigmas[i])
    return x


def ancestral(model: Denoiser, x: Tensor, sigmas: Tensor, **told: Any) -> Tensor:
    """Draws noise at every step."""
    for i in range(len(sigmas) - 1):
        x = euler(model, x, sigmas[i : i + 2], **told) + 0.01 * torch.randn_like(x) * sigmas[i + 1]
    return x


def heun(model: Denoiser, x: Tensor, sigmas: Tensor, extra_args: Any = None, callback: Any = None, **_: Any) -> Tensor:
    """Evaluates the end of every step but the last too."""
    told = extra_args or {}
    for i in range(len(sigmas) - 1):
        denoised, slope = _slope(model, x, sigmas[i], told)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
        stride = sigmas[i + 1] - sigmas[i]
        if sigmas[i + 1] > 0:
            slope = (slope + _slope(model, x + slope * stride, sigmas[i + 1], told)[1]) / 2
        x = x + slope * stride
    return x


def midpoint(
    model: Denoiser, x: Tensor, sigmas: Tensor, extra_args: Any = None, callback: Any = None, **_: Any
) -> Tensor:
    """Evaluates a level between those of the run, and says at its end that a step is over."""
    told = extra_args or {}
    for i in range(len(sigmas) - 1):
        middle = (sigmas[i] + sigmas[i + 1]) / 2
        denoised, slope = _slope(model, x, sigmas[i], told)
        slope = _slope(model, x + slope * (middle - sigmas[i]), middle, told)[1]
        x = x + slope * (sigmas[i + 1] - sigmas[i])
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigmas[i], "sigma_hat": sigmas[i], "denoised": denoised})
    return x


def mute(model: Denoiser, x: Tensor, sigmas: Tensor, extra_args: Any = None, **_: Any) -> Tensor:
    """Has no callback."""
    return euler(model, x, sigmas, extra_args)


def coarse(model: Denoiser, x: Tensor, sigmas: Tensor, **told: Any) -> Tensor:
    """Makes half as many steps as there are levels."""
    return heun(model, x, torch.cat([sigmas[:-1:2], sigmas[-1:]]), **told)


def adaptive(
    model: Denoiser, x: Tensor, sigmas: Tensor, extra_args: Any = None, callback: Any = None, **_: Any
) -> Tensor:
    """Makes steps as long as what it is given allows."""
    told, sigma, i = extra_args or {}, sigmas[0], 0
    while sigma > 1e-2:
        denoised, slope = _slope(model, x, sigma, told)
        if callback is not None:
            callback({"x": x, "i": i, "sigma": sigma, "sigma_hat": sigma, "denoised": denoised})
        after = sigma * (0.9 - 0.5 * slope.abs().mean().clamp_max(1))
        x, sigma, i = x + slope * (after - sigma), after, i + 1
    return x
