"""One call of a model, and what a pipeline says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from padecast._errors import UnsupportedModel
from padecast.hooks.layout import Layout, Like
from padecast.hooks.rows import Known
from padecast.hooks.stopwatch import Reading
from padecast.memory.arithmetic import Ready, Streams
from padecast.session.session import Session


@dataclass
class Pass:
    """How a call goes through one stack, from its first part to its last.

    Args:
        key: Under which the session remembers it: the branch, and which stack where a model has several.
        branch: Which conditioning the call belongs to.
        ready: A forecast that was decided before the model was called.
        stream_rows: Which rows count of what the first part is given.
        patches: Whether only some of the samples are computed.
    """

    key: str
    branch: str
    ready: Ready | None = None
    begun: bool = False
    entry: Streams = ()
    stream_rows: Known = field(default_factory=dict)
    patches: bool = False
    forecast: Streams | None = None
    learnt: tuple[Streams, Streams] | None = None
    reached_end: bool = False


@dataclass
class Call:
    """One call of the model.

    Args:
        session: Of its run.
        stop: Stops the time that it takes.
        passes: How it goes through every stack.
        computes: Whether it is known that every stack is computed.
        latents: Shape of the model's first argument, if that is a tensor.
        asks_gradient: Whether the output is to have a gradient, so that nothing may be forecast.
        stream_rows: Which rows count in the block list that was begun last.
        seen: What a probe saw of it. A graph keeps what is written here, and would lose it elsewhere.
        looks: Whether a probe looks at it still.
        looks_alone: Whether the first part is run for the probe alone.
    """

    session: Session
    stop: Callable[[], Reading]
    passes: list[Pass]
    computes: bool = False
    latents: tuple[int, ...] = ()
    asks_gradient: bool = False
    stream_rows: Known = field(default_factory=dict)
    seen: Streams | None = None
    looks: bool = True
    looks_alone: bool = False

    def show(self, absent: str) -> Streams:
        """Return what was seen, after which nobody looks again.

        Args:
            absent: What to say if it was nothing.

        Raises:
            UnsupportedModel: If it was nothing.
        """
        seen, self.seen, self.looks = self.seen, None, False
        if seen is None:
            raise UnsupportedModel(absent)
        return seen


class Said:
    """What a pipeline said of a call, whatever release of diffusers said it."""

    def __init__(self, name: Any, **details: Any) -> None:
        self.name = getattr(name, "name", name)
        self.step_index = details.get("step_index", getattr(name, "step_index", None))
        self.num_inference_steps = details.get("num_inference_steps", getattr(name, "num_inference_steps", None))


def features_of(argument: Any) -> Streams:
    """Return the floating-point tensors of an argument with their samples first; it may be a list of samples.

    Raises:
        UnsupportedModel: If there are none.
    """
    features = tuple(x for x in tree_leaves(argument) if isinstance(x, Tensor) and x.is_floating_point())
    if not features:
        raise UnsupportedModel(
            f"the model's first argument, of type {type(argument).__name__}, holds no latents for the policy to see.\n"
            "Usual cause: a model that is given text first. Take a method that looks at no latents, such as adaptive."
        )
    return Layout(tuple(map(Like.of, features)), listed=isinstance(argument, list)).inward(features)


def size_of(argument: Any) -> int:
    """Return how many numbers one sample of the model's first argument has; 0 if it holds no tensors.

    Example:
        >>> size_of(torch.zeros(2, 4, 8, 8)), size_of([torch.zeros(16, 1, 8, 8), torch.zeros(16, 1, 8, 8)])
        (256, 1024)
    """
    if isinstance(argument, Tensor):
        return argument[:1].numel()
    parts = [x for x in tree_leaves(argument) if isinstance(x, Tensor)]
    return max((x.numel() for x in parts), default=0)


def device_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.device:
    """Return where a call takes place: the device of its first tensor."""
    values = (*args, *kwargs.values())
    return next((value.device for value in values if isinstance(value, Tensor)), torch.device("cpu"))
