"""A pipeline is as it was, whatever another library left on its modules and classes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from padecast.targets.pipelines import models_of


@contextmanager
def restore(pipe: Any) -> Iterator[None]:
    """Put back every attribute of a pipeline, of its models' modules and of their classes as it was.

    Weights are not copied: a library that changes them in place is beyond this.
    """
    owners = [pipe, *dict.fromkeys(module for model in models_of(pipe) for module in model.modules())]
    before = [(owner, type(owner), _save(vars(owner))) for owner in owners]
    classes = {cls: dict(vars(cls)) for cls in dict.fromkeys(type(owner) for owner in owners)}
    try:
        yield
    finally:
        for owner, cls, record in before:
            if type(owner) is not cls:
                object.__setattr__(owner, "__class__", cls)
            _put_back(vars(owner), record)
        for cls, namespace in classes.items():
            _put_back_class(cls, namespace)


Kept = dict[str, tuple[Any, Any]]
"""By name a value and, where it is a dictionary or a set, what it held."""


def _save(attributes: dict[str, Any]) -> Kept:
    return {name: (value, _copy(value)) for name, value in attributes.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return dict(value)
    return set(value) if isinstance(value, set) else None


def _put_back(attributes: dict[str, Any], record: Kept) -> None:
    values = {name: value for name, (value, _) in record.items()}
    if not _same(attributes, values):
        attributes.clear()
        attributes.update(values)
    for value, held in record.values():  # in place: handles of hooks refer to these very dictionaries
        if held is not None and not _same(value, held):
            value.clear()
            value.update(held)


def _put_back_class(cls: type, namespace: dict[str, Any]) -> None:
    now = dict(vars(cls))
    for name in {*now, *namespace}:
        if name not in namespace:
            delattr(cls, name)
        elif now.get(name) is not namespace[name]:
            setattr(cls, name, namespace[name])


def _same(left: Iterable[Any], right: Iterable[Any]) -> bool:
    """Whether two dictionaries hold the same objects in the same order, or two sets the same."""
    if not isinstance(left, dict) or not isinstance(right, dict):
        return left == right
    return list(left) == list(right) and all(a is b for a, b in zip(left.values(), right.values(), strict=True))
