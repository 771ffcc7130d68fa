"""A pipeline whose model returns the clean image that it predicts, so that this can be what is forecast."""

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


def told_in_clean_images(pipe: Any) -> Any:
    """Return a flow pipeline of the same components that draws the same images, with such a model.

    Where it mixes predictions for guidance, weights sum to 1, so that the mixture is a clean image too.
    """
    kind = type(pipe.scheduler)

    class Told(kind):  # type: ignore[misc, valid-type]
        """A scheduler that is given clean images."""

        def step(self, model_output: Tensor, timestep: Any, sample: Tensor, **options: Any) -> Any:
            """Go a step with the velocity."""
            velocity = (sample - model_output) / (float(timestep) / TIMES)
            return super().step(velocity, timestep, sample, **options)

    Told.__name__ = Told.__qualname__ = kind.__name__
    parts = dict(pipe.components)
    scale = 1.0 if type(pipe.transformer).__name__.startswith("Flux") else TIMES
    pipe.register_modules(
        transformer=CleanImages(parts["transformer"], scale), scheduler=Told.from_config(pipe.scheduler.config)
    )
    return pipe
