"""Which models can be accelerated. A model class is one entry of data."""

from __future__ import annotations

import inspect

from torch import nn

from padecast._errors import UnsupportedModel
from padecast.targets.base import HALVES, HIDDEN, IMAGE_TEXT, MODULES, REST, TEXT_IMAGE, WHOLE, BlockOutput, Target
from padecast.targets.diffusers import DIFFUSERS

REGISTRY: dict[str, Target] = {target.model: target for target in DIFFUSERS}
"""Descriptions by the name of the class; those of libraries other than diffusers by ``"library.name"``."""


def register(target: Target) -> Target:
    """Describe a model class, so that its instances can be accelerated.

    Args:
        target: The description. A class that was described before is described anew.

    Returns:
        The same target.

    Example:
        >>> register(Target("MyTransformer", {"layers": HIDDEN})).spans
        {'full': ('layers',)}
        >>> del REGISTRY["MyTransformer"]
    """
    REGISTRY[_key(target.library, target.model)] = target
    return target


def _key(library: str, model: str) -> str:
    return model if library in ("", "diffusers") else f"{library}.{model}"


def find(model: nn.Module, span: str = "full") -> Target:
    """Return the description of a model's class or of the nearest class that it inherits from.

    Args:
        model: The transformer or U-Net.
        span: What is to be forecast. A span in ``WHOLE`` needs no description.

    Raises:
        UnsupportedModel: If none is described, or only a class of that name in another library; the message holds the
            lines to write. Of a span that needs no description, if no argument of the model's forward can be its
            timestep.

    Example:
        >>> class Denoiser(nn.Module):
        ...     def forward(self, x, timestep):
        ...         return x
        >>> find(Denoiser(), "output").model
        'Denoiser'
        >>> find(nn.Linear(2, 2))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        padecast._errors.UnsupportedModel: no stack of blocks is known in Linear; padecast models lists ...
        Forecast what the whole model returns, which needs no description:
            padecast.accelerate(pipe, span="output")
        Or describe its stack, with the attribute that holds its list of blocks and what a block returns:
            from padecast import targets
            targets.register(targets.Target("Linear", {"blocks": targets.HIDDEN}))
    """
    namesake = None
    for cls in type(model).__mro__:
        library = cls.__module__.partition(".")[0]
        for target in filter(None, map(REGISTRY.get, (f"{library}.{cls.__name__}", cls.__name__))):
            if target.library in ("", library):
                return target
            namesake = namesake or (target, library)
    name = type(model).__name__
    if span in WHOLE:
        return Target(name, {}, timestep=_timestep(model))
    if namesake is not None:
        raise UnsupportedModel(_of_another_library(*namesake))
    lists = [name for name, child in model.named_children() if isinstance(child, nn.ModuleList)]
    raise UnsupportedModel(
        f"no stack of blocks is known in {name}; padecast models lists the {len(REGISTRY)} that are described.\n"
        "Forecast what the whole model returns, which needs no description:\n"
        '    padecast.accelerate(pipe, span="output")\n'
        "Or describe its stack, with the attribute that holds its list of blocks and what a block returns:\n"
        "    from padecast import targets\n"
        f'    targets.register(targets.Target("{name}", {{"{(lists or ["blocks"])[0]}": targets.HIDDEN}}))'
    )


def _of_another_library(target: Target, library: str) -> str:
    name = target.model
    return (
        f"the {name} of {library} is not that of {target.library}, which is described: its blocks may be called in "
        "another way, and return something else.\n"
        "Forecast what the whole model returns, which needs no description:\n"
        '    padecast.accelerate(pipe, span="output")\n'
        f"Or, where its blocks are as those of {target.library}, say so:\n"
        "    import dataclasses\n"
        "    from padecast import targets\n"
        f'    targets.register(dataclasses.replace(targets.REGISTRY["{name}"], library="{library}"))'
    )


def _timestep(model: nn.Module) -> str:
    """Guess the argument of a model's forward that holds the timestep.

    Raises:
        UnsupportedModel: If there is none, nor any further arguments that might hold it.
    """
    names = inspect.signature(type(model).forward).parameters
    further = any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values())
    argument = next((name for name in TIMESTEPS if name in names), TIMESTEPS[0] if further else None)
    if argument is None:
        raise UnsupportedModel(
            f"{type(model).__name__} takes {', '.join(list(names)[1:]) or 'nothing'}, and no timestep.\n"
            f"Usual cause: another part of the pipeline than its denoiser. Give the pipeline, or its transformer; what "
            f"the timestep may be called: {', '.join(TIMESTEPS)}"
        )
    return argument


TIMESTEPS = ("timestep", "timesteps", "t", "time", "sigma", "sigmas")


__all__ = [
    "HALVES",
    "HIDDEN",
    "IMAGE_TEXT",
    "MODULES",
    "REGISTRY",
    "REST",
    "TEXT_IMAGE",
    "WHOLE",
    "BlockOutput",
    "Target",
    "find",
    "register",
]
