"""With which weights a step is forecast. One file per forecaster; one line here enrols it everywhere."""

from collections.abc import Callable
from typing import TypeVar

from padecast._registry import Registry
from padecast.forecasters.base import Forecaster
from padecast.forecasters.blend import Blend
from padecast.forecasters.chebyshev import Chebyshev
from padecast.forecasters.feedback import Feedback
from padecast.forecasters.foca import FoCa
from padecast.forecasters.hermite import Hermite
from padecast.forecasters.lagrange import Lagrange
from padecast.forecasters.oracle import Oracle
from padecast.forecasters.pade import Pade
from padecast.forecasters.refined import Refined
from padecast.forecasters.reuse import Reuse
from padecast.forecasters.taylor import Taylor
from padecast.forecasters.tcpade import TCPade
from padecast.forecasters.toca import ToCa
from padecast.forecasters.wiener import Wiener

Part = TypeVar("Part", bound=Forecaster)
REGISTRY: Registry[Forecaster] = Registry(
    "forecaster",
    Forecaster,
    {
        "reuse": Reuse,
        "taylor": Taylor,
        "lagrange": Lagrange,
        "hermite": Hermite,
        "foca": FoCa,
        "pade": Pade,
        "tcpade": TCPade,
        "chebyshev": Chebyshev,
        "toca": ToCa,
        "blend": Blend,
        "feedback": Feedback,
        "wiener": Wiener,
        "refined": Refined,
        "oracle": Oracle,
    },
)


def register(name: str) -> Callable[[type[Part]], type[Part]]:
    """Enrol a forecaster of one's own under a name: a decorator for its class.

    Methods, command line and experiments then know it by that name, with its fields as options.

    Args:
        name: Small letters, digits and dashes, beginning with a letter.

    Raises:
        InvalidOption: If the name is taken or no name, or the class is no frozen dataclass of a forecaster.

    Example:
        >>> from dataclasses import dataclass
        >>> import torch
        >>> @register("mean-of-two")
        ... @dataclass(frozen=True)
        ... class MeanOfTwo(Forecaster):
        ...     window = 2
        ...     def weights(self, geometry, at):
        ...         return torch.full((len(geometry),), 1 / len(geometry), dtype=torch.float64)
        >>> REGISTRY.make("mean-of-two")
        MeanOfTwo()
        >>> REGISTRY.remove("mean-of-two")
    """

    def enrol(part: type[Part]) -> type[Part]:
        REGISTRY.register(name, part)
        return part

    return enrol


__all__ = [
    "REGISTRY",
    "Blend",
    "Chebyshev",
    "Feedback",
    "FoCa",
    "Forecaster",
    "Hermite",
    "Lagrange",
    "Oracle",
    "Pade",
    "Refined",
    "Reuse",
    "TCPade",
    "Taylor",
    "ToCa",
    "Wiener",
    "register",
]
