"""How noisy the latents are at every step, from any scheduler, and how noisy they look at their size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

from torch import Tensor

ORIGIN = 25.0
"""Numbers of a latent whose structure is hidden as its noise level says; larger ones show theirs earlier."""


@dataclass(frozen=True)
class Noise:
    r"""Amplitudes of signal and noise in the latents at every step: ``x = alpha x_0 + sigma e``.

    Args:
        alphas: Amplitudes of the signal at every place of a schedule, and after its last step.
        sigmas: Those of the noise.
        size: Numbers of one sample's latents, D.
        gains: What an error of the model's output does to the clean image that it says, at every place.

    Example:
        >>> Noise((0.0, 0.5, 1.0), (1.0, 0.5, 0.0), size=2500).effective()
        (1.0, 0.09090909090909091, 0.0)
    """

    alphas: tuple[float, ...]
    sigmas: tuple[float, ...]
    size: float = ORIGIN
    gains: tuple[float, ...] = ()

    def effective(self, kappa: float | None = None) -> tuple[float, ...]:
        r"""Return the noise levels at which the structure of a latent of so many numbers shows, in [0, 1].

        .. math:: \sigma_\text{eff} = \frac{\sigma}{\sigma + \kappa \alpha}, \qquad \kappa = \sqrt{D / D_0}

        Noise averages out over the numbers of a latent, so that its coarse structure shows the earlier the more there
        are: the exact denoiser of a latent each of whose pixels is there k x k times is the one of the small latent at
        this level, with kappa = k. See :mod:`padecast.zoo.enlarged`.

        Args:
            kappa: In place of the one that follows from the size.
        """
        kappa = self.kappa if kappa is None else kappa
        pairs = zip(self.alphas, self.sigmas, strict=True)
        return tuple(sigma / max(sigma + kappa * alpha, TINY) for alpha, sigma in pairs)

    def part(self, begin: int, end: int) -> Noise:
        """Return the amplitudes of some steps in a row, and after the last of them.

        Args:
            begin: The first step.
            end: Where the steps end; that one is none of them.

        Example:
            >>> Noise((0.0, 0.5, 0.8, 1.0), (1.0, 0.5, 0.2, 0.0), gains=(1.0, 0.5, 0.2)).part(1, 2)
            Noise(alphas=(0.5, 0.8), sigmas=(0.5, 0.2), size=25.0, gains=(0.5,))
        """
        places = slice(begin, end + 1)
        return Noise(self.alphas[places], self.sigmas[places], self.size, self.gains[begin:end])

    @cached_property
    def abscissae(self) -> tuple[float, ...] | None:
        """Minus the effective levels at the steps, for twice the kappa; nothing unless they rise."""
        return _rising(-level for level in self.effective(2 * self.kappa)[:-1])

    @cached_property
    def roots(self) -> tuple[float, ...] | None:
        """Minus the square roots of the effective levels at the steps; nothing unless they rise."""
        return _rising(-math.sqrt(level) for level in self.levels[:-1])

    @cached_property
    def levels(self) -> tuple[float, ...]:
        """The effective levels at the steps, and after the last."""
        return self.effective()

    @property
    def kappa(self) -> float:
        """How many times less noise there is to see than there is, ``sqrt(D / D_0)``, with ``D_0`` = 25."""
        return math.sqrt(max(self.size, 1.0) / ORIGIN)


TINY = 1e-30


def _rising(numbers: Iterable[float]) -> tuple[float, ...] | None:
    """Return numbers that rise from each to the next; nothing if any does not."""
    listed = tuple(numbers)
    return listed if all(a < b for a, b in pairwise(listed)) else None


def noise_of(scheduler: Any, size: float = ORIGIN) -> Noise | None:
    """Return the amplitudes at the places of a scheduler's grid; ``None`` if it tells none.

    In order: its ``sigmas``, which are shares of noise (flow matching) or noise over signal (EDM, Karras, and the other
    solvers of the same family); its ``alphas_cumprod`` at its timesteps; and angles (IPNDM, TrigFlow). At the end of a
    run there is no noise, whatever remains of it in the numbers.

    Args:
        scheduler: With its timesteps set.
        size: Numbers of one sample's latents.

    Example:
        >>> from types import SimpleNamespace
        >>> training = SimpleNamespace(timesteps=[2, 0], alphas_cumprod=[0.99, 0.64, 0.36])
        >>> noise_of(training).sigmas
        (0.8, 0.10000000000000005, 0.0)
    """
    timesteps = _numbers(getattr(scheduler, "timesteps", None))
    if not timesteps:
        return None
    sigmas = _numbers(getattr(scheduler, "sigmas", None))
    if len(sigmas) in (len(timesteps), len(timesteps) + 1):
        levels = sigmas[: len(timesteps)]
        pairs = [(1 - s, s) for s in levels] if is_flow(scheduler) else [_of_ratio(s) for s in levels]
    else:
        pairs = _of_training(scheduler, timesteps) or _of_angles(scheduler, timesteps)
    if not pairs or not all(math.isfinite(a) and math.isfinite(s) and s >= 0 for a, s in pairs):
        return None
    pairs = [(max(alpha, 0.0), sigma) for alpha, sigma in pairs]
    gains = tuple(_gain(scheduler, alpha, sigma) for alpha, sigma in pairs)
    return Noise((*(alpha for alpha, _ in pairs), 1.0), (*(sigma for _, sigma in pairs), 0.0), size, gains)


def noise_at(sigmas: Sequence[float], size: float = ORIGIN, flow: bool = True, output: str = "velocity") -> Noise:
    """Return the amplitudes at the noise levels of a sampler, the last of which is where it ends.

    Args:
        sigmas: Shares of noise, 0 to 1 (flow matching), or noise over signal, 0 or more (k-diffusion).
        size: Numbers of one sample's latents.
        flow: Whether they are shares of noise.
        output: What the model says, one of :data:`OUTPUTS`.

    Example:
        >>> noise_at((1.0, 0.0), flow=False).sigmas
        (0.7071067811865475, 0.0)
    """
    pairs = [(1 - s, s) if flow else _of_ratio(s) for s in sigmas]
    gains = tuple(_gain_of(output, alpha, sigma) for alpha, sigma in pairs[:-1])
    return Noise(tuple(alpha for alpha, _ in pairs), tuple(sigma for _, sigma in pairs), size, gains)


OUTPUTS = ("velocity", "image", "noise")
"""What a model's output says: the velocity of the latents, the clean image, or the noise in the latents."""


def _gain(scheduler: Any, alpha: float, sigma: float) -> float:
    kind = getattr(scheduler, "config", {}).get("prediction_type")
    if kind == "sample":
        return _gain_of("image", alpha, sigma)
    return _gain_of("velocity" if is_flow(scheduler) or kind in ("v_prediction", "trigflow") else "noise", alpha, sigma)


def _gain_of(output: str, alpha: float, sigma: float) -> float:
    """Return how far the clean image moves with what the model says."""
    return 1.0 if output == "image" else sigma if output == "velocity" else sigma / max(alpha, LEAST)


LEAST = 0.01
"""The least signal by which noise is divided, where there is none."""


def is_flow(scheduler: Any) -> bool:
    """Whether noise and signal add up to one: rectified flow, under whatever solver."""
    config = getattr(scheduler, "config", {})
    setting = config.get("use_flow_sigmas") or config.get("prediction_type") == "flow_prediction"
    return bool(setting) or hasattr(scheduler, "scale_noise") or any(name in type(scheduler).__name__ for name in FLOWS)


FLOWS = ("FlowMatch", "FlowMap", "RFScheduler", "Piflow", "Helios")


def is_random(scheduler: Any) -> bool:
    """Whether a scheduler draws noise at its steps, so that the way from one to the next is none that a line follows.

    Example:
        >>> from types import SimpleNamespace
        >>> is_random(SimpleNamespace(config={"algorithm_type": "sde-dpmsolver++"}))
        True
    """
    config = getattr(scheduler, "config", {})
    setting = config.get("stochastic_sampling") or str(config.get("algorithm_type", "")).startswith("sde")
    return bool(setting) or any(word in type(scheduler).__name__ for word in RANDOM)


def is_multistep(scheduler: Any) -> bool:
    """Whether a scheduler mixes outputs of several steps, and so has a history of them.

    Example:
        >>> from types import SimpleNamespace
        >>> is_multistep(SimpleNamespace(config={"solver_order": 2})), is_multistep(SimpleNamespace(config={}))
        (True, False)
    """
    order = getattr(scheduler, "config", {}).get("solver_order")
    return (order or 1) > 1 or any(word in type(scheduler).__name__ for word in MULTISTEP)


MULTISTEP = ("LMS", "PNDM", "SASolver")
"""Words in the names of schedulers that mix outputs, and say no order."""
RANDOM = (
    *("Ancestral", "SDE", "LCM", "TCD", "DDPM", "SASolver", "RePaint", "UnCLIP", "Stochastic", "SCM", "VQDiffusion"),
    *("CogVideoXDPM", "CosineDPM", "ScoreSde", "KarrasVe"),
)
"""Words in the names of schedulers that draw noise."""


def _of_ratio(ratio: float) -> tuple[float, float]:
    """Return the amplitudes whose squares add up to one, of noise over signal."""
    whole = math.hypot(1.0, ratio)
    return 1 / whole, ratio / whole


def _of_training(scheduler: Any, timesteps: Sequence[float]) -> list[tuple[float, float]]:
    """Return the amplitudes of training at timesteps that count its steps."""
    products = _numbers(getattr(scheduler, "alphas_cumprod", None))
    if not products:
        return []
    pairs = []
    for timestep in timesteps:
        place = min(max(timestep, 0.0), len(products) - 1.0)
        low = int(place)
        high = min(low + 1, len(products) - 1)
        product = products[low] + (place - low) * (products[high] - products[low])
        pairs.append((math.sqrt(max(product, 0.0)), math.sqrt(max(1 - product, 0.0))))
    return pairs


def _of_angles(scheduler: Any, timesteps: Sequence[float]) -> list[tuple[float, float]]:
    """Return the amplitudes of schedulers whose timesteps are angles, in quarter turns or in radians."""
    unit = ANGLES.get(type(scheduler).__name__)
    return [] if unit is None else [(math.cos(unit * t), math.sin(unit * t)) for t in timesteps]


ANGLES = {"IPNDMScheduler": math.pi / 2, "SCMScheduler": 1.0}


def _numbers(values: Any) -> list[float]:
    if values is None:
        return []
    listed = values.tolist() if isinstance(values, Tensor) else list(values)
    return [float(value) for value in listed] if all(isinstance(value, int | float) for value in listed) else []
