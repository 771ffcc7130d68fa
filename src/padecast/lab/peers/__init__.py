"""Caches of other libraries, as they are, to be compared with on the same pipelines and seeds.

Names are written like methods: ``diffusers.first-block``, ``cache-dit.taylorseer:order=2``. A peer that cannot be put
on a model is a row of the table that says why.
"""

from __future__ import annotations

from padecast.lab.peers.attach import Seen, check_branches, switch_on
from padecast.lab.peers.base import REGISTRY, Peer, first_line

# In the order in which they are listed:
# isort: off
from padecast.lab.peers.stacks import FirstBlock as FirstBlock
from padecast.lab.peers.attentions import TaylorSeer as TaylorSeer, TaylorSeerLite as TaylorSeerLite
from padecast.lab.peers.stacks import MagCache as MagCache
from padecast.lab.peers.attentions import Broadcast as Broadcast, FasterCache as FasterCache
from padecast.lab.peers.stacks import SeaCache as SeaCache
from padecast.lab.peers.cache_dit import DBCache as DBCache
from padecast.lab.peers.cache_dit import DBTaylorSeer as DBTaylorSeer
from padecast.lab.peers.cache_dit import DBFoCa as DBFoCa
from padecast.lab.peers.cache_dit import DBDMD as DBDMD
# isort: on

REGISTRY.seal(vars())


def is_foreign(name: str) -> bool:
    """Whether a name is written like that of a peer, and not like a method's.

    Example:
        >>> is_foreign("cache-dit.foca:warmup=4"), is_foreign("taylorseer")
        (True, False)
    """
    return _library(name) in {_library(peer) for peer in REGISTRY}


def _library(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def is_partial(name: str) -> bool:
    """Whether a name is that of a peer that leaves out a part of the blocks only, so that NFE says little of its cost.

    Example:
        >>> is_partial("diffusers.pab"), is_partial("diffusers.magcache"), is_partial("fora")
        (True, False, False)
    """
    return name in REGISTRY and bool(getattr(REGISTRY[name], "partial", False))


__all__ = ["REGISTRY", "Peer", "Seen", "check_branches", "first_line", "is_foreign", "is_partial", "switch_on"]
