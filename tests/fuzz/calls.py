"""Calls of models by hand: what an untouched run gave its models, and what came out, with gradients."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import torch
from tests.fuzz.changes import Change, changed
from tests.fuzz.kinds import Kind, Run
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a model.

    Args:
        model: Which, by name.
        first: Whether it was at the first step, where a run may begin.
        args: What it was given.
        kwargs: What it was given by name.
        outputs: What came out.
        gradients: Of a loss of that by the weights, by name.
    """

    model: str
    first: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: list[Tensor]
    gradients: dict[str, Tensor]

    def is_at(self, grid: Tensor) -> bool:
        """Whether it is at a timestep of a schedule, as nearly as bfloat16 can tell."""
        timestep = self.kwargs.get("timestep", self.args[1] if len(self.args) > 1 else None)
        value = float(torch.as_tensor(timestep).flatten()[0])
        return any(bool(((grid - scale * value).abs() <= 2**-6 * grid.abs().max()).any()) for scale in (1.0, 1000.0))

    def repeat(self, models: dict[str, nn.Module]) -> str:
        """Call a model so again; says how what comes out differs, ``""`` if it does not."""
        with torch.no_grad():
            outputs = leaves(models[self.model](*self.args, **self.kwargs))
        return "" if all(map(torch.equal, outputs, self.outputs)) else f"the {self.model} returns something else"

    def train(self, models: dict[str, nn.Module]) -> str:
        """Call a model so again with gradients; says how these differ, ``""`` if they do not."""
        gradients = gradients_of(models[self.model], self.args, self.kwargs)
        if absent := sorted(set(self.gradients) - set(gradients)):
            return f"{len(absent)} of {len(self.gradients)} weights have no gradient, such as {absent[0]}"
        wrong = [name for name, gradient in gradients.items() if not torch.equal(gradient, self.gradients[name])]
        return f"gradients differ: {wrong[:3]}" if wrong else ""


def clone(leaf: Any) -> Any:
    return leaf.clone() if isinstance(leaf, Tensor) else leaf  # a view would keep what it is a view of


def leaves(output: Any) -> list[Tensor]:
    return [leaf.detach() for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]


def gradients_of(model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Tensor]:
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    with torch.enable_grad():
        outputs = tree_leaves(model(*args, **kwargs))
        loss = sum(leaf.float().square().sum() for leaf in outputs if isinstance(leaf, Tensor))
        found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True) if loss.requires_grad else ()
    return {name: gradient for name, gradient in zip(trained, found, strict=False) if gradient is not None}


@functools.cache
def recorded(kind: Kind, changes: tuple[Change, ...]) -> tuple[Call, ...]:
    """Return two calls of every model at the start of a run with another scheduler, and two from its middle."""
    models = changed(kind, changes)
    role, scheduler = next(iter(kind.pipelines)), list(kind.schedulers.values())[-1]
    made: dict[str, list[Any]] = {name: [] for name in models}

    def record(name: str, model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        made[name].append(tree_map(clone, (args, kwargs, leaves(output))))

    hooks = [
        model.register_forward_hook(functools.partial(record, name), with_kwargs=True) for name, model in models.items()
    ]
    steps = 7 if kind.name == "unet" else 12  # at no timestep but the first of the schedules that are drawn
    kind.draw(kind.pipelines[role](scheduler=scheduler(), **models), Run(kind.length or steps, seed=9))
    for hook in hooks:
        hook.remove()
    calls = tuple(
        Call(name, place < 2, *given, gradients_of(models[name], *given[:2]))
        for name, listed in made.items()
        for place, given in enumerate(listed)
        if place < 2 or place in (len(listed) // 2, len(listed) // 2 + 1)
    )
    KEPT.extend(calls)
    return calls


KEPT: list[Call] = []


def kept() -> list[Tensor]:
    """Return all tensors that are kept to compare with."""
    held = [(call.args, call.kwargs, call.outputs, call.gradients) for call in KEPT]
    return [leaf for leaf in tree_leaves(held) if isinstance(leaf, Tensor)]
