"""What is to be done at every run of a model, and what a run begins with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from padecast._errors import CalibrationMismatch, InvalidOption, check, quote
from padecast.calibration.calibration import Calibration
from padecast.forecasters import Reuse, TCPade
from padecast.forecasters.extras import Direct, Moments
from padecast.lessons import Library
from padecast.methods import Method
from padecast.policies import Policy
from padecast.policies.wrappers import Cap, Window
from padecast.session.grid import Grid
from padecast.session.rehearsal import Rehearsal, rehearse
from padecast.session.session import Session

PREDICTIONS = ("velocity", "image")
"""What may be forecast: ``(x - x0) / sigma``, or the clean image x0."""


@dataclass(frozen=True)
class Settings:
    """What is done at every run of one model.

    Args:
        method: When to compute, and with which weights to forecast.
        calibration: Which the method is of, if it is of one.
        prediction: What is forecast, one of :data:`PREDICTIONS`.
        dtype: Storage dtype of the history; that of the latents by default.
        offload: Whether the history lies in host memory.
        library: Where a method that learns has its lessons.
        start: Share of the run before which all is computed.
        end: Share of the run from which on all is computed.
        most: Forecasts in a row.
        amend: Whether computed steps pay back what forecasts got wrong.
    """

    method: Method
    calibration: Calibration | None = None
    prediction: str = "velocity"
    dtype: torch.dtype | None = None
    offload: bool = False
    library: Library | None = None
    start: float = 0.0
    end: float = 1.0
    most: int | None = None
    amend: bool = True

    def __post_init__(self) -> None:
        self._restrict(self.method.policy)
        check(self.prediction in PREDICTIONS, "prediction", self.prediction, " or ".join(map(repr, PREDICTIONS)))
        policy, extra = self.method.policy, self.method.forecaster.extra
        if policy.probe:
            raise InvalidOption(
                f"{self.method.name!r} decides by what it sees inside a model, which ComfyUI's runs do not show.\n"
                'Take a method that decides by noise levels and earlier steps, such as "adaptive" or "tc-pade".'
            )
        if extra is not None and not isinstance(extra, Moments | Direct):
            raise InvalidOption(
                f"{self.method.name!r} forecasts inside a model; in ComfyUI what a model returns is forecast.\n"
                'Take a method such as "adaptive", "tc-pade" or "taylorseer".'
            )

    def _restrict(self, policy: Policy) -> Policy:
        """Return a policy that forecasts in a part of the run alone, and not more than so often in a row."""
        if self.most is not None:
            policy = Cap(policy, limit=self.most)
        whole = (self.start, self.end) == (0.0, 1.0)
        return policy if whole else Window(policy, start=self.start, end=self.end)

    def session(self, method: Method, grid: Grid, is_random: bool, amend: bool = False, **options: Any) -> Session:
        """Return the session of a run.

        Args:
            method: Which serves it.
            grid: Of its sampler.
            is_random: Whether the sampler draws noise: our own method's forecasts are repetition then.
            amend: Whether computed steps may pay back what forecasts got wrong.
            options: Of the session.

        Raises:
            InvalidPlan: If the method is a plan of another length.
        """
        forecaster = method.forecaster
        if is_random and isinstance(forecaster, TCPade) and forecaster.form != "published":
            forecaster = Reuse()
        policy, options["grid"] = self._restrict(method.policy), grid
        options["amend"] = self.amend and amend and forecaster.extra is None
        return Session(policy, forecaster, dtype=self.dtype, offload=self.offload, **options)

    def check_run(self, grid: Grid, guidance: float | None, branches: tuple[str, ...]) -> None:
        """Raise unless the calibration, where there is one, was made for a run.

        Raises:
            CalibrationMismatch: With what differs.
        """
        if self.calibration is None:
            return
        fit = self.calibration.fits(grid, guidance=guidance, branches=branches)
        if not fit:
            raise CalibrationMismatch(
                f"the calibration {self.calibration.name!r} was not made for this run:\n"
                + "".join(f"  {difference}\n" for difference in fit.differences)
                + "Sample with the scheduler, the shift, the steps and the guidance that it was made for, or take a "
                'method that needs no calibration, such as "adaptive".'
            )


def rehearse_sampler(sampler: Any, guider: Any, sigmas: Tensor) -> Rehearsal:
    """Return which noise levels a sampler of ComfyUI will evaluate.

    Args:
        sampler: What ComfyUI calls so: ``sampler_function`` with ``extra_options``.
        guider: At which samplers look, for the model's noise levels.
        sigmas: Of the run.
    """
    function = getattr(sampler, "sampler_function", None)
    plain = tuple(map(float, sigmas.tolist()))
    if not callable(function):
        return Rehearsal(plain, (), f"a {type(sampler).__name__} has no sampler_function: it cannot be rehearsed")
    options = dict(getattr(sampler, "extra_options", None) or {})
    return rehearse(function, sigmas, model=Stage(guider, sigmas), options=options, finish=call_back)


class Stage:
    """What samplers look at beside calling the model."""

    def __init__(self, guider: Any, sigmas: Tensor) -> None:
        self.inner_model, self.sigmas = guider, sigmas
        self.noise = self.latent_image = None


def call_back(denoised: Tensor, x: Tensor, sigma: Tensor, model_options: Any = None, **_: Any) -> Tensor:
    """Call the functions that a sampler wants called after guidance, as those of CFG++ do, and return the clean image.

    Args:
        denoised: The clean image, of all conditionings alike.
        x: Latents.
        sigma: Noise level.
        model_options: What the sampler hands on; a rehearsal has none of the user's functions in it.
    """
    functions: list[Callable[[dict[str, Any]], Tensor]] = (model_options or {}).get("sampler_post_cfg_function", [])
    for function in functions:
        denoised = function(
            {
                "denoised": denoised,
                "cond_denoised": denoised,
                "uncond_denoised": denoised,
                "sigma": sigma,
                "input": x,
                "model_options": model_options,
            }
        )
    return denoised


def is_flow(guider: Any) -> bool:
    """Whether a model's noise levels are shares of noise, 0 to 1, rather than noise over signal.

    Raises:
        InvalidOption: If the model tells no noise levels.
    """
    sampling = getattr(getattr(guider, "inner_model", None), "model_sampling", None)
    if sampling is None:
        raise InvalidOption(f"{quote(guider)} has no inner_model.model_sampling, which tells its noise levels")
    return float(sampling.sigma_max) <= 1.0001
