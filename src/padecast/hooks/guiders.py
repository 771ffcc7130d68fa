"""What the guiders of diffusers' modular pipelines say of a call: which of a step's predictions it makes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from padecast._intercept import Intercept
from padecast.hooks.call import Here
from padecast.targets.pipelines import attributes_of

PREPARES = ("prepare_inputs", "prepare_inputs_from_block_state")
"""By these a guider makes the batches of a step, one for each call of the model."""
IDENTIFIER = "__guidance_identifier__"
"""The field of a batch that names its prediction, where a guider does not say."""


def layers_on_guiders(pipeline: Any, model: nn.Module, local: Here) -> Iterator[Intercept]:
    """Yield what listens to the guiders of a pipeline, and notes in ``local.guided`` which prediction is made.

    Guidance by a perturbed model (skipped layers, perturbed or smoothed attention) calls it twice with the very same
    arguments: the guider alone knows which call is which. Where a guider is exchanged later, nobody listens to it.

    Args:
        pipeline: The pipeline; one without guiders has no such layers.
        model: Whose calls are noted.
        local: This thread's call.
    """
    for guider in list(attributes_of(pipeline).values()):
        if all(callable(getattr(guider, name, None)) for name in ("prepare_models", "cleanup_models", *PREPARES)):
            yield from _Listener(guider, model, local).layers()


class _Listener:
    """Listens to one guider: its batches are called in the order in which they were made."""

    def __init__(self, guider: Any, model: nn.Module, local: Here) -> None:
        self._guider, self._model, self._here = guider, model, local
        self._waiting: list[str | None] = []

    def layers(self) -> list[Intercept]:
        """Return what is put on the guider."""
        return [
            *(Intercept(self._guider, name, self._prepare) for name in PREPARES),
            Intercept(self._guider, "prepare_models", self._begin),
            Intercept(self._guider, "cleanup_models", self._end),
        ]

    def _prepare(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        batches = method(*args, **kwargs)
        field = getattr(self._guider, "_identifier_key", IDENTIFIER)
        self._waiting = [getattr(batch, field, None) for batch in batches]
        return batches

    def _begin(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        done = method(*args, **kwargs)
        denoiser = next(iter((*args, *kwargs.values())), None)
        if getattr(denoiser, "_orig_mod", denoiser) is self._model:
            self._here.guided = self._waiting.pop(0) if self._waiting else None
        return done

    def _end(self, method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._here.guided = None
        return method(*args, **kwargs)
