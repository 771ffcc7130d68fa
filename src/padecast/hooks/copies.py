"""Copies of what we are on: they are made as if nothing was there."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from padecast._intercept import Intercept
from padecast.hooks.hook import HOOKS, numbers_of


def plain_copies(owners: Iterable[Any], on_copy: Callable[[], None] = lambda: None) -> list[Intercept]:
    """Return the layers by which copies and pickles of objects, and replicas of modules, have nothing of ours.

    ``copy`` and ``pickle``, and with them ``torch.save``, joblib and processes that are spawned, ask an object for its
    state, also one that lies in another; ``DataParallel`` asks a module for its replica.

    Args:
        owners: The objects that other layers are on.
        on_copy: Is called when one is copied or pickled. Default nothing.
    """
    layers = []
    for owner in {id(owner): owner for owner in owners}.values():
        layers.append(Intercept(owner, "__getstate__", functools.partial(_state, owner, on_copy)))
        if hasattr(owner, "_replicate_for_data_parallel"):
            layers.append(Intercept(owner, "_replicate_for_data_parallel", _replica))
    return layers


def without_ours(held: dict[str, Any]) -> dict[str, Any]:
    """Return an object's attributes as they are without our layers."""
    ours = {number for name in HOOKS for number in numbers_of(held.get(name, {}))}
    plain = {}
    for name, value in held.items():
        if isinstance(value, Intercept):
            if value.stands_for_nothing(name):
                continue
            value = value.origin
        elif ours and name.startswith(HOOKS):
            value = type(value)((number, item) for number, item in value.items() if number not in ours)
        plain[name] = value
    return plain


def _state(owner: Any, on_copy: Callable[[], None], method: Any, _args: Any, _kwargs: Any) -> Any:
    on_copy()
    # Before Python 3.11 objects have no such method of their own; some that have slots give a pair.
    state = vars(owner) if method is None else method()
    if isinstance(state, tuple) and state and isinstance(state[0], dict):
        return (without_ours(state[0]), *state[1:])
    return without_ours(state) if isinstance(state, dict) else state


def _replica(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    replica = method(*args, **kwargs)
    replica.__dict__ = without_ours(replica.__dict__)
    return replica
