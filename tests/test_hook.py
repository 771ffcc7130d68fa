"""Hooks of ours do nothing once they are removed, whoever calls them and however."""

from __future__ import annotations

import copy
import gc
import pickle
from typing import Any

import pytest
from torch import nn

from padecast.hooks.hook import Hook, outside_of_graphs

KINDS = {
    "register_forward_pre_hook": {"with_kwargs": True},
    "register_forward_hook": {"always_call": True, "with_kwargs": True},
}


def noted(module: nn.Module) -> int:
    return sum(len(value) for name, value in vars(module).items() if name.startswith("_forward_"))


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def test_it_is_called_and_taken_off(kind: str) -> None:
    module, seen = nn.Identity(), list[Any]()
    hook = Hook(module, kind, lambda *given: seen.append(given), **KINDS[kind])
    module(1)
    assert not seen and noted(module) == 0
    hook.install()
    module(2)
    assert len(seen) == 1 and seen[0][0] is module and seen[0][1] == (2,)
    for _ in range(2):
        hook.remove()
        module(3)
    assert len(seen) == 1 and noted(module) == 0


def test_whoever_holds_it_calls_nothing(kind: str) -> None:
    """As torch does that took a list of hooks before one was removed, and then leaves out what it asked for."""
    module, seen = nn.Identity(), list[Any]()
    hook = Hook(module, kind, lambda *given: seen.append(given), **KINDS[kind])
    hook.install()
    hook.remove()
    assert hook(module, (1,)) is None and hook(module, (1,), {}) is None and not seen


def test_what_was_noted_half_way_goes_too(kind: str) -> None:
    """An interrupt may fall between what torch notes of a hook, and between what is removed of it."""
    module = nn.Identity()
    hook = Hook(module, kind, print, **KINDS[kind])
    hook.install()
    dictionaries = [value for name, value in vars(module).items() if name.startswith("_forward_") and value]
    assert len(dictionaries) > 1
    for dictionary in dictionaries:
        if not any(value is hook for value in dictionary.values()):
            dictionary.clear()
    hook.remove()
    assert noted(module) == 0


def test_others_stay(kind: str) -> None:
    module = nn.Identity()
    hook = Hook(module, kind, lambda *_: None, **KINDS[kind])
    getattr(module, kind)(lambda *_: None)
    before = noted(module)
    hook.install()
    getattr(module, kind)(lambda *_: None)
    hook.remove()
    assert noted(module) == before + 1


def test_a_copy_does_nothing(kind: str) -> None:
    hook = Hook(nn.Identity(), kind, lambda *_: 1, **KINDS[kind])
    for copied in (copy.copy(hook), copy.deepcopy(hook), pickle.loads(pickle.dumps(hook))):
        assert copied(nn.Identity(), ()) is None


def test_one_function_outside_of_graphs_for_all() -> None:
    gc.collect()
    assert outside_of_graphs(noted) is outside_of_graphs(noted)
    assert outside_of_graphs(noted)(nn.Identity()) == 0
