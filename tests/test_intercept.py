"""One method of one instance is replaced, and given back exactly, in any order and whoever else did the same."""

from __future__ import annotations

import copy
import functools
import inspect
from collections.abc import Callable
from itertools import permutations
from typing import Any

import pytest
import torch
from torch import nn

from padecast._intercept import Intercept


class Doubling(nn.Module):
    def forward(self, x: int, *, twice: bool = True) -> int:
        """Double."""
        return 2 * x if twice else x


def adding(number: int) -> Callable[..., Any]:
    def around(method: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return method(*args, **kwargs) + number

    return around


def replace(module: nn.Module, keep_as: str = "_kept") -> None:
    """What accelerate does: keep the old forward on the module, and look it up there at every call."""
    kept = module.forward
    setattr(module, keep_as, kept)

    def new(module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return getattr(module, keep_as)(*args, **kwargs) + 1000

    module.forward = functools.update_wrapper(functools.partial(new, module), kept)


def on(module: nn.Module, around: Callable[..., Any]) -> Intercept:
    return Intercept(module, "forward", around).install()


def test_it_stands_in_on_one_instance() -> None:
    one, two = Doubling(), Doubling()
    intercept = on(one, adding(1))
    assert (one(3), two(3), one(3, twice=False)) == (7, 6, 4)
    intercept.remove()
    assert (one(3), vars(one).keys()) == (6, vars(two).keys())


def test_it_may_decline_to_call_the_method() -> None:
    module = Doubling()
    intercept = on(module, lambda method, args, kwargs: "instead")
    assert module(3) == "instead"
    intercept.remove()


def test_any_method() -> None:
    module = Doubling()
    intercept = Intercept(module, "extra_repr", lambda method, args, kwargs: f"[{method()}]").install()
    assert str(module) == "Doubling([])"
    intercept.remove()
    assert "extra_repr" not in vars(module)


def test_the_signature_stays_readable() -> None:
    module = Doubling()
    before = inspect.signature(module.forward)
    for _ in range(2):
        on(module, adding(1))
        assert inspect.signature(module.forward) == before


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_several_are_removed_in_any_order(order: tuple[int, ...]) -> None:
    module = Doubling()
    intercepts = [on(module, adding(10**place)) for place in range(3)]
    present = {0, 1, 2}
    for leaving in order:
        assert module(0) == sum(10**place for place in present)
        intercepts[leaving].remove()
        present.remove(leaving)
    assert module(0) == 0
    assert "forward" not in vars(module)


def test_removing_twice() -> None:
    module = Doubling()
    first, second = on(module, adding(1)), on(module, adding(10))
    first.remove()
    first.remove()
    assert module(0) == 10
    second.remove()
    second.remove()
    assert "forward" not in vars(module)


class TestAnotherLibrary:
    def test_a_forward_that_was_on_the_instance_before_comes_back(self) -> None:
        module = Doubling()
        own = functools.partial(Doubling.forward, module)
        module.forward = own
        intercepts = [on(module, adding(1)), on(module, adding(10))]
        assert module(0) == 11
        for intercept in intercepts:
            intercept.remove()
        assert vars(module)["forward"] is own

    def test_one_that_replaced_it_since_keeps_working(self) -> None:
        module = Doubling()
        first, second = on(module, adding(1)), on(module, adding(10))
        replace(module)
        third = on(module, adding(100))
        replace(module, keep_as="_kept_again")
        assert module(0) == 2111
        second.remove()
        assert module(0) == 2101
        first.remove()
        assert module(0) == 2100
        assert vars(module)["_kept"] == Doubling.forward.__get__(module)
        third.remove()
        assert module(0) == 2000
        assert not any(isinstance(value, Intercept) for value in vars(module).values())

    def test_one_that_holds_it_out_of_sight_finds_it_harmless(self) -> None:
        module = Doubling()
        intercept = on(module, adding(1))
        hidden = module.forward
        module.forward = lambda *args, **kwargs: hidden(*args, **kwargs) + 1000
        assert module(0) == 1001
        intercept.remove()
        assert module(0) == 1000
        module.forward = hidden
        assert module(3) == 6

    def test_wrappers_take_nothing_over(self) -> None:
        """functools.update_wrapper copies the __dict__ of what it wraps, and with it whatever hangs on it."""
        module = Doubling()
        on(module, adding(1))
        wrapper = functools.update_wrapper(functools.partial(module.forward), module.forward)
        assert set(vars(wrapper)) <= {
            "__wrapped__",
            "__doc__",
            "__module__",
            "__name__",
            "__qualname__",
            "__type_params__",
        }

    def test_what_is_removed_lets_go(self) -> None:
        module = Doubling()
        intercept = on(module, adding(1))
        intercept.remove()
        assert intercept._around is None


class TestCopies:
    def test_a_copy_is_not_intercepted_and_belongs_to_itself(self) -> None:
        module = nn.Sequential(nn.Linear(2, 2))
        on(module[0], adding(1))
        copied = copy.deepcopy(module)
        with torch.no_grad():
            copied[0].weight.zero_()
            copied[0].bias.zero_()
        assert copied(torch.ones(1, 2)).abs().sum() == 0
        assert module(torch.ones(1, 2)).abs().sum() > 0

    def test_nested_intercepts(self) -> None:
        module = Doubling()
        on(module, adding(1))
        on(module, adding(10))
        assert copy.deepcopy(module)(3) == 6
        assert module(3) == 17
