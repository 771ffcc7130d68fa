"""Pipelines that are asked otherwise: by a model of clean images, and for schedules that few schedulers can make."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

TIMES = 1000.0


class CleanImages(nn.Module):
    """A flow model that returns ``x - sigma v`` in place of its velocity v.

    Args:
        inner: Its first argument are the latents x; its timestep is sigma, or sigma times 1,000.
        scale: Of the timestep.
    """

    def __init__(self, inner: nn.Module, scale: float) -> None:
        super().__init__()
        self.inner, self.scale = inner, scale

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)

    def forward(
        self, hidden_states: Tensor, timestep: Tensor, return_dict: bool = False, **options: Any
    ) -> tuple[Tensor, ...]:
        """Return the clean images, in a tuple."""
        velocity = self.inner(hidden_states=hidden_states, timestep=timestep, return_dict=False, **options)[0]
        sigma = timestep.reshape(-1, *(1,) * (hidden_states.ndim - 1)) / self.scale
        return (hidden_states - sigma * velocity,)


def predict_clean_images(pipe: Any) -> Any:
    """Return a flow pipeline that draws the same images, with a model that returns the clean image that it predicts.

    Where it mixes predictions for guidance, weights sum to 1, so that the mixture is a clean image too.
    """
    kind = type(pipe.scheduler)

    class Scheduler(kind):  # type: ignore[misc, valid-type]
        """A scheduler that is given clean images."""

        def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **options: Any) -> Any:
            """Go a step with the velocity."""
            velocity = (sample - model_output) / (float(timestep) / TIMES)
            return super().step(velocity, timestep, sample, **options)

    Scheduler.__name__ = Scheduler.__qualname__ = kind.__name__
    scale = 1.0 if type(pipe.transformer).__name__.startswith("Flux") else TIMES
    pipe.register_modules(
        transformer=CleanImages(pipe.transformer, scale), scheduler=Scheduler.from_config(pipe.scheduler.config)
    )
    return pipe


def take_sigmas(scheduler: Any) -> Any:
    """Return a scheduler that a FLUX pipeline can ask for a schedule, which it does by sigmas that few of them take.

    The levels are those of the scheduler itself; only the number of sigmas is read.
    """
    kind = type(scheduler)

    class Scheduler(kind):  # type: ignore[misc, valid-type]
        """A scheduler that counts the sigmas that it is given."""

        def set_timesteps(
            self, num_inference_steps: int | None = None, device: Any = None, sigmas: Any = None, mu: Any = None
        ) -> None:
            """Set as many steps."""
            super().set_timesteps(num_inference_steps if sigmas is None else len(sigmas), device)

    Scheduler.__name__ = Scheduler.__qualname__ = kind.__name__
    return Scheduler.from_config(scheduler.config)
