"""With which weights a step is forecast. One file per forecaster; one line here enrols it everywhere."""

from padecast.forecasters.base import REGISTRY, Forecaster, register

# In the order in which they are listed:
# isort: off
from padecast.forecasters.reuse import Reuse as Reuse
from padecast.forecasters.taylor import Taylor as Taylor
from padecast.forecasters.lagrange import Lagrange as Lagrange
from padecast.forecasters.hermite import Hermite as Hermite
from padecast.forecasters.foca import FoCa as FoCa
from padecast.forecasters.pade import Pade as Pade
from padecast.forecasters.tcpade import TCPade as TCPade
from padecast.forecasters.chebyshev import Chebyshev as Chebyshev
from padecast.forecasters.toca import ToCa as ToCa
from padecast.forecasters.blend import Blend as Blend
from padecast.forecasters.feedback import Feedback as Feedback
from padecast.forecasters.wiener import Wiener as Wiener
from padecast.forecasters.refined import Refined as Refined
from padecast.forecasters.l2p import L2P as L2P
from padecast.forecasters.mean_velocity import MeanVelocity as MeanVelocity
from padecast.forecasters.oracle import Oracle as Oracle
# isort: on

__all__ = ["REGISTRY", "Forecaster", "register", *REGISTRY.seal(vars())]
