"""Caches of other libraries, as they are, to be compared with on the same pipelines and seeds.

Names are written like methods: ``diffusers.first-block``, ``cache-dit.taylorseer:order=2``. A peer that cannot be put
on a model is a row of the table that says why.
"""

from __future__ import annotations

from padecast._registry import Registry
from padecast.lab.peers.attach import Seen, check_branches, switch_on
from padecast.lab.peers.attentions import Broadcast, FasterCache, TaylorSeer, TaylorSeerLite
from padecast.lab.peers.base import Peer, first_line
from padecast.lab.peers.cache_dit import DBDMD, DBCache, DBFoCa, DBTaylorSeer
from padecast.lab.peers.stacks import FirstBlock, MagCache, SeaCache

REGISTRY: Registry[Peer] = Registry(
    "peer",
    Peer,
    {
        "diffusers.first-block": FirstBlock,
        "diffusers.taylorseer": TaylorSeer,
        "diffusers.taylorseer-lite": TaylorSeerLite,
        "diffusers.magcache": MagCache,
        "diffusers.pab": Broadcast,
        "diffusers.fastercache": FasterCache,
        "diffusers.seacache": SeaCache,
        "cache-dit": DBCache,
        "cache-dit.taylorseer": DBTaylorSeer,
        "cache-dit.foca": DBFoCa,
        "cache-dit.dmd": DBDMD,
    },
)


def is_foreign(name: str) -> bool:
    """Whether a name is written like that of a peer, and not like a method's.

    Example:
        >>> is_foreign("cache-dit.foca:warmup=4"), is_foreign("taylorseer")
        (True, False)
    """
    return name.startswith(("diffusers.", "cache-dit"))


def is_partial(name: str) -> bool:
    """Whether a name is that of a peer that leaves out a part of the blocks only, so that NFE says little of its cost.

    Example:
        >>> is_partial("diffusers.pab"), is_partial("diffusers.magcache"), is_partial("fora")
        (True, False, False)
    """
    return name in REGISTRY and bool(getattr(REGISTRY[name], "partial", False))


__all__ = ["REGISTRY", "Peer", "Seen", "check_branches", "first_line", "is_foreign", "is_partial", "switch_on"]
