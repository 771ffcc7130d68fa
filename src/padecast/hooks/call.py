"""One call of a model, and what a pipeline says of it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from padecast._errors import UnsupportedModel
from padecast.hooks.callers import Caller
from padecast.hooks.conditions import Condition
from padecast.hooks.rows import Known
from padecast.memory.arithmetic import Ready, Streams
from padecast.session.session import Session
from padecast.session.stopwatch import Reading


@dataclass(frozen=True)
class Arrival:
    """A call of the model as it comes.

    Args:
        named: Its arguments by name.
        latents: The first of them.
        timestep: What the model is told of the time.
        context: What the pipeline says of the call, if it says anything.
        name: What the pipeline calls the branch, if it says so.
        conditions: Its arguments that say what to draw.
        caller: Who makes it.
        asks_gradient: Whether the output is to have a gradient.
        fills: Whether it fills a cache of keys and values, and so has to run the blocks.
    """

    named: dict[str, Any]
    latents: Any
    timestep: Any
    context: Said | None
    name: str | None
    conditions: tuple[Condition, ...]
    caller: Caller
    asks_gradient: bool
    fills: bool = False

    @property
    def insists(self) -> str:
        """Why nothing may be forecast, by the word of a note; nothing if it may be."""
        return "gradient" if self.asks_gradient else "cache" if self.fills else ""

    @property
    def device(self) -> torch.device | None:
        """Where the call takes place: where its first tensor lies; ``None`` without one."""
        return next((value.device for value in self.named.values() if isinstance(value, torch.Tensor)), None)


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
    inputs: Streams = ()
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
        insists: Whether nothing may be forecast: the output is to have a gradient, or the blocks fill a cache.
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
    insists: bool = False
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


class Here(threading.local):
    """What a thread is doing with a model: every thread sees its own.

    Args:
        call: The call that it is in.
        context: What its pipeline says of its calls.
        guided: Which prediction its guider makes.
        hooked: Whether a hook has told of the call that its ``forward`` begins.
    """

    call: Call | None = None
    context: Said | None = None
    guided: str | None = None
    hooked: bool = False
