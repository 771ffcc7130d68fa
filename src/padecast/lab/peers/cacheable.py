"""How a cache of diffusers is put on a model: ``enable_cache`` and ``disable_cache``."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn

from padecast._errors import UnsupportedModel
from padecast.hooks.schedule import look_up
from padecast.lab.peers.base import Peer
from padecast.targets.pipelines import models_of


@dataclass(frozen=True)
class Cache(Peer):
    """A cache that ``model.enable_cache(configuration)`` switches on, and ``model.disable_cache()`` off."""

    @abstractmethod
    def configuration(self, pipe: Any, model: nn.Module, steps: int) -> Any:
        """Return what ``enable_cache`` is given."""

    def enable(self, pipe: Any, steps: int) -> None:
        """Switch it on for every model of the pipeline."""
        for model in models_of(pipe):
            mix_in(model)
            model.enable_cache(self.configuration(pipe, model, steps))  # type: ignore[operator]

    def disable(self, pipe: Any) -> None:
        """Switch it off."""
        for model in models_of(pipe):
            if getattr(model, "is_cache_enabled", False):
                reader = getattr(model._cache_config, "current_timestep_callback", None)
                model.disable_cache()  # type: ignore[operator]
                if isinstance(reader, Timestep):
                    reader.remove()


def find_class(name: str) -> Any:
    """Return a configuration class of diffusers.

    Raises:
        UnsupportedModel: If this version of diffusers has none of that name.
    """
    import diffusers

    try:
        return getattr(diffusers, name)
    except AttributeError as error:
        raise UnsupportedModel(f"diffusers {diffusers.__version__} has no {name}.\npip install -U diffusers") from error


def mix_in(model: nn.Module) -> None:
    """Give a model of a class that diffusers did not make cacheable the methods of its ``CacheMixin``, for a while."""
    mixin = find_class("CacheMixin")
    if not isinstance(model, mixin):
        cls = type(model)
        object.__setattr__(model, "__class__", type(cls.__name__, (cls, mixin), {"__module__": cls.__module__}))


class Timestep:
    """Reads the timestep that a model was last called with, in the scheduler's units, until it is removed.

    Args:
        pipe: The pipeline whose scheduler is asked.
        model: The model that is watched.
    """

    def __init__(self, pipe: Any, model: nn.Module) -> None:
        self._pipe, self._last = pipe, 0.0
        self._hook = model.register_forward_pre_hook(self._note, with_kwargs=True)

    def __call__(self) -> float:
        return self._last

    def remove(self) -> None:
        """Stop watching."""
        self._hook.remove()

    def _note(self, _module: Any, _args: Any, kwargs: dict[str, Any]) -> None:
        timestep, grid = kwargs["timestep"], self._pipe.scheduler.timesteps
        times = [float(grid[index]) for index, _ in look_up(grid, timestep)]
        self._last = times[0] if times else float(timestep.flatten()[0])
