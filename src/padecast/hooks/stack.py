"""What a session is put around: parts of a model that are skipped together, and what is looked at on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import nn

from padecast._intercept import Layer
from padecast.hooks.call import Call, Here, Pass
from padecast.hooks.rows import Known
from padecast.memory.arithmetic import Rows, Streams

Forward = Callable[..., Any]


class Stack(ABC):
    """Consecutive parts of a model that are skipped together."""

    parts: list[nn.Module]
    wants_outputs: bool = False
    """Whether it wants to see what every part returns."""
    remembers_inputs: bool = False
    """Whether it finds its inputs by itself when it learns, so that nobody else need keep them."""
    watches: bool = False
    """Whether it looks into parts as they run (:meth:`run`), and may compute a share of a forecast (:meth:`renew`)."""

    @abstractmethod
    def inputs(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what a forecast is added to, at the call of the first part; nothing if none is possible."""

    @abstractmethod
    def source(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the first part is given of every sample, at its call; nothing if that is not known."""

    @abstractmethod
    def match_rows(self, stream_rows: Known, streams: Streams) -> Rows | None:
        """Return which rows of the output count, by those of what a block was given; ``None`` if all do."""

    @abstractmethod
    def skip(self, place: int, args: tuple[Any, ...], kwargs: dict[str, Any], forecast: Streams | None) -> Any:
        """Return what stands in for a part's output; the last part's holds the forecast."""

    @abstractmethod
    def learnt(self, inputs: Streams, output: Any) -> tuple[Streams, Streams]:
        """Return input and output of the stack, from what it was given and what its last part returned."""

    @abstractmethod
    def exchange(self, output: Any, streams: Streams) -> Any:
        """Return the last part's output with other features."""

    def meet(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:  # noqa: B027
        """See a call whose parts will be run; asked, in a graph, only if it remembers its inputs by itself."""

    def clear(self) -> None:  # noqa: B027 - most remember nothing
        """Forget the run."""

    def read_rows(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Known:
        """Return which rows count of what the first part is given, at its call; nothing if all do or none is known."""
        return {}

    def ran(self, place: int, output: Any) -> None:  # noqa: B027
        """See what a part returned; asked only if it wants outputs."""

    def run(self, call: Call, way: Pass, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a part, and look at it; asked only if it watches."""
        return forward(*args, **kwargs)

    def renew(
        self, call: Call, way: Pass, forecast: Streams, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Streams:
        """Return a forecast, of which a share was computed; asked only if it watches."""
        return forecast


class Probe(Protocol):
    """Looks at one call of a model, at its first part that may be skipped."""

    layers: list[Layer]
    """What it puts on the model."""

    def look(self, call: Call, forward: Forward, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Streams:
        """Return what the policy wants to see.

        Args:
            call: The model's call, which holds what was seen of it so far.
            forward: The first part.
            args: What it is given.
            kwargs: What it is given by name.
        """


def _look_at_nothing(_local: Here) -> None:
    return None


def _put_nothing(_local: Here) -> Sequence[Layer]:
    return ()


@dataclass(frozen=True)
class Span:
    """What of a model is forecast, and what is looked at on the way.

    Args:
        stacks: What is skipped, each stack by itself; nearly always one.
        probe: Makes what shows a policy the inside of the model; given this thread's ``call``. Default nothing.
        layers: Makes what else is put on the model; given the same. Default nothing.
    """

    stacks: Sequence[Stack]
    probe: Callable[[Here], Probe | None] = _look_at_nothing
    layers: Callable[[Here], Sequence[Layer]] = _put_nothing
