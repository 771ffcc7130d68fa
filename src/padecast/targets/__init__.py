"""Which models can be accelerated. A model class is one entry of data."""

from __future__ import annotations

from torch import nn

from padecast._errors import UnsupportedModel
from padecast.targets.base import HIDDEN, IMAGE_TEXT, TEXT_IMAGE, BlockOutput, Target
from padecast.targets.diffusers import DIFFUSERS

REGISTRY: dict[str, Target] = {target.model: target for target in DIFFUSERS}


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
    REGISTRY[target.model] = target
    return target


def find(model: nn.Module) -> Target:
    """Return the description of a model's class or of the nearest class that it inherits from.

    Args:
        model: The transformer.

    Raises:
        UnsupportedModel: If none is described; the message holds the lines to write.

    Example:
        >>> find(nn.Linear(2, 2))
        Traceback (most recent call last):
            ...
        padecast._errors.UnsupportedModel: no stack of blocks is known in Linear.
        Known: DiTTransformer2DModel, FluxTransformer2DModel, WanTransformer3DModel
        Describe it, with the attribute that holds its list of blocks and what a block returns:
            from padecast import targets
            targets.register(targets.Target("Linear", {"blocks": targets.HIDDEN}))
    """
    for cls in type(model).__mro__:
        if cls.__name__ in REGISTRY:
            return REGISTRY[cls.__name__]
    lists = [name for name, child in model.named_children() if isinstance(child, nn.ModuleList)]
    name = type(model).__name__
    raise UnsupportedModel(
        f"no stack of blocks is known in {name}.\nKnown: {', '.join(sorted(REGISTRY))}\n"
        "Describe it, with the attribute that holds its list of blocks and what a block returns:\n"
        "    from padecast import targets\n"
        f'    targets.register(targets.Target("{name}", {{"{(lists or ["blocks"])[0]}": targets.HIDDEN}}))'
    )


__all__ = [
    "HIDDEN",
    "IMAGE_TEXT",
    "REGISTRY",
    "TEXT_IMAGE",
    "BlockOutput",
    "Target",
    "find",
    "register",
]
