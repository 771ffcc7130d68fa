"""With which weights a step is forecast. One file per forecaster; one line here enrols it everywhere."""

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
]
