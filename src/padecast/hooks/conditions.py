"""Which branch of a run does a call belong to? Told by what the call is conditioned on, never by its number alone."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

VARYING = re.compile(
    r"timestep|sigma|noise|control|cache|residual|latent|guidance|scale|(?<!encoder_)hidden_states$|^sample$"
    r"|(vision|sound|action|audio|video)_tokens$"
)
"""Arguments of a model that change from step to step on one branch, by parts of their names."""
SKETCH = 256
"""Elements of the latents that are kept, to tell calls apart that are conditioned alike."""
NEAR = 0.25
"""Squared distance, as a share of the squared length, within which latents continue those of the step before."""
MOST = 32
"""Branches of a run; a model that is called more often at one step is not sampled step by step."""


@dataclass(frozen=True)
class Condition:
    """One argument of a call that says what to draw.

    Args:
        name: Of the argument.
        value: A tensor, a truth value or a text. Tensors are kept, so that no other can take their place in memory.
    """

    name: str
    value: Any
    version: int = field(init=False)

    def __post_init__(self) -> None:
        plain = isinstance(self.value, Tensor) and not self.value.is_inference()
        object.__setattr__(self, "version", self.value._version if plain else 0)

    def agrees(self, other: Condition, read: bool, wait: bool) -> bool:
        """Whether two calls were given the same.

        Args:
            other: Of the other call.
            read: Whether to compare values where the tensors are not the same.
            wait: Whether to do so where a GPU has to be waited for.
        """
        left, right = self.value, other.value
        if self.name != other.name or not isinstance(left, Tensor) or not isinstance(right, Tensor):
            return self.name == other.name and type(left) is type(right) and bool(left == right)
        if (left.shape, left.dtype, left.device) != (right.shape, right.dtype, right.device):
            return False
        if _is_same_memory(left, right):
            return self.version == other.version
        # What was changed in place since it was kept cannot be compared any more.
        readable = read and (wait or left.device.type == "cpu") and self._is_intact and other._is_intact
        return readable and bool(torch.equal(left, right))

    @property
    def _is_intact(self) -> bool:
        return bool(self.value.is_inference() or self.value._version == self.version)


def conditions_of(arguments: Mapping[str, Any], apart: Collection[str] = ()) -> tuple[Condition, ...]:
    """Return the arguments of a call that say what to draw: all tensors, truth values and texts of steady arguments.

    Args:
        arguments: The model's arguments by name.
        apart: Names of those that say something else: its latents, and its timestep.

    Example:
        >>> arguments = {"timestep": torch.ones(1), "class_labels": torch.ones(1), "fps": 8}
        >>> [condition.name for condition in conditions_of(arguments)]
        ['class_labels']
    """
    conditions = []
    for name, value in arguments.items():
        if value is None or name in apart or VARYING.search(name):
            continue
        for leaf in (value,) if isinstance(value, Tensor) else tree_leaves(value):
            if isinstance(leaf, Tensor | bool | str):
                conditions.append(Condition(name, leaf))
    return tuple(conditions)


@dataclass
class Branch:
    """One conditioning of a run.

    Args:
        name: Under which it is remembered and reported.
        context: What the pipeline calls it, if it says so.
        conditions: What its latest call was given.
        index: The step of its latest call.
        sketch: Some elements of that call's latents, where they lie.
        fills: Whether that call filled a cache, so that the next one is given less.
    """

    name: str
    context: str | None
    conditions: tuple[Condition, ...]
    index: int = -1
    sketch: Tensor | None = None
    fills: bool = False

    def agrees(self, context: str | None, conditions: tuple[Condition, ...], read: bool, wait: bool) -> bool:
        """Whether a call is conditioned as this branch is; see :meth:`Condition.agrees`."""
        if context != self.context or len(conditions) != len(self.conditions):
            return False
        for left, right in zip(self.conditions, conditions, strict=True):
            # The same object at the same version, as nearly always, or to be compared.
            same = left.value is right.value and left.name == right.name and left.version == right.version
            if not same and not left.agrees(right, read, wait):
                return False
        return True


class Branches:
    """The branches of one run, told apart by the arguments of their calls.

    A call belongs to the branch that was given the same text, labels, masks and so on. Of several branches that are
    conditioned alike (an image that is part of the latents, windows of a video) it belongs to the one whose latents
    it continues; if that is not clear, to none. A call that is conditioned as none before begins a branch.

    Where the tensors are the very same as before, as in nearly every pipeline, nothing is read. Else their values are
    compared, for which a GPU is waited for: give the calls names then, ``model.cache_context("cond")``.
    """

    def __init__(self) -> None:
        self._branches: list[Branch] = []

    def __len__(self) -> int:
        return len(self._branches)

    def clear(self) -> None:
        """Forget the branches: the run is over."""
        self._branches = []

    def knows(self, context: str | None, conditions: tuple[Condition, ...]) -> Branch | None:
        """Return the first branch that is conditioned so."""
        alike = self._alike(context, conditions, self._branches)
        return alike[0] if alike else None

    def were_at(self, index: int) -> bool:
        """Whether one of the branches was called at a step, as its latest."""
        return any(branch.index == index for branch in self._branches)

    def find(
        self, context: str | None, conditions: tuple[Condition, ...], latents: Any, index: int, fills: bool = False
    ) -> Branch | None:
        """Return the branch of a call at a step, a new one if it is conditioned as none before.

        Args:
            context: What the pipeline calls the branch.
            conditions: What the call is given.
            latents: What the call is to denoise.
            index: The step.
            fills: Whether the call fills a cache of keys and values. What is in it is not given to the next call, whose
                conditioning is the same for all that.

        Returns:
            Nothing if it cannot be told which of several it is, or if there are too many.
        """
        called: list[Branch] = []
        waiting: list[Branch] = []
        for branch in self._branches:
            (called if branch.index == index else waiting).append(branch)
        alike = self._alike(context, conditions, waiting)
        # A branch that was called at this step is hardly called again: not worth a wait at every run's first step.
        served = self._alike(context, conditions, called, wait=False) if called else []
        sketch = sketch_of(latents)
        for branch in served:
            if is_equal(branch.sketch, sketch):
                return branch  # the same evaluation once more
        if len(alike) + len(served) > 1 and alike:
            continued = nearest(alike, sketch)
        else:
            filled = [branch for branch in waiting if branch.fills and branch.context == context]
            candidates = alike or filled
            continued = candidates[0] if candidates else self._begin(context, conditions)
        if continued is not None:
            continued.conditions, continued.index, continued.sketch = conditions, index, sketch
            continued.fills = fills
        return continued

    def leave(self, branch: Branch) -> Branches:
        """Return a branch by itself, which no longer belongs to these."""
        self._branches.remove(branch)
        alone = Branches()
        alone._branches = [branch]
        return alone

    def _alike(
        self, context: str | None, conditions: tuple[Condition, ...], branches: Collection[Branch], wait: bool = True
    ) -> list[Branch]:
        """Return the branches that are conditioned so: by the very same tensors if there are such, else by values."""
        same = []
        for branch in branches:
            if branch.agrees(context, conditions, read=False, wait=False):
                same.append(branch)
        # Nearly never are there branches, and none by the very same tensors.
        if same or not branches:
            return same
        return [branch for branch in branches if branch.agrees(context, conditions, read=True, wait=wait)]

    def _begin(self, context: str | None, conditions: tuple[Condition, ...]) -> Branch | None:
        if len(self._branches) >= MOST:
            return None
        number = 1 + sum(branch.context == context for branch in self._branches)
        name = f"call {number}" if context is None else context if number == 1 else f"{context}, call {number}"
        self._branches.append(Branch(name, context, conditions))
        return self._branches[-1]


def nearest(waiting: Sequence[Branch], sketch: Tensor | None) -> Branch | None:
    """Return the branch whose latents a call continues; nothing if there is none.

    Latents that one step has moved lie near those before. Branches are taken in their order, unless the latents are
    clearly (by half the squared distance) nearer to those of another one.

    Args:
        waiting: Branches that this step has not called, in their order.
        sketch: Of the call's latents.
    """
    if sketch is None:
        return None
    distances = [distance(branch.sketch, sketch) for branch in waiting]
    near = min(distances)
    place = 0 if near > 0.5 * distances[0] else distances.index(near)
    return waiting[place] if distances[place] <= NEAR * float(sketch.float().square().sum()) else None


def distance(left: Tensor | None, right: Tensor | None) -> float:
    """Return the squared distance of two sketches; infinite if they are of different latents."""
    if left is None or right is None or left.shape != right.shape or left.device != right.device:
        return float("inf")
    return float((left.float() - right.float()).square().sum())


def is_equal(left: Tensor | None, right: Tensor | None) -> bool:
    """Whether two sketches hold the same."""
    return distance(left, right) == 0.0


def sketch_of(latents: Any) -> Tensor | None:
    """Return evenly spaced elements of the latents, where they lie: nothing is waited for."""
    if isinstance(latents, Tensor):
        if not latents.is_floating_point() or not latents.numel():
            return None
        with torch.no_grad():
            return latents.detach().flatten()[:: max(1, latents.numel() // SKETCH)].clone()
    tensors = [x for x in tree_leaves(latents) if isinstance(x, Tensor) and x.is_floating_point() and x.numel()]
    if not tensors:
        return None
    with torch.no_grad():
        parts = [x.detach().flatten()[:: max(1, x.numel() // SKETCH)] for x in tensors]
        return torch.cat(parts).clone() if len({(x.dtype, x.device) for x in parts}) == 1 else parts[0].clone()


def _is_same_memory(left: Tensor, right: Tensor) -> bool:
    if left is right:
        return True
    try:
        return left.data_ptr() == right.data_ptr() != 0 and left.stride() == right.stride()
    except RuntimeError:  # a tensor without memory, as in a graph that is traced
        return False
