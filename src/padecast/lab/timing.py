"""Wall time of a call and of the denoiser in it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from padecast.targets.pipelines import MODELS


@dataclass
class Stopwatch:
    """Readings of one call of a pipeline.

    Args:
        seconds: Of the whole call, with everything that a GPU was given to do.
        calls: How often a denoiser was called.
    """

    seconds: float = 0.0
    calls: int = 0
    _started: list[Any] = field(default_factory=list, repr=False)
    _spans: list[Callable[[], float]] = field(default_factory=list, repr=False)

    @property
    def denoiser_seconds(self) -> float:
        """Seconds of all calls of the denoisers together."""
        return sum(span() for span in self._spans)

    def enter(self, *_: object) -> None:
        """Note that a denoiser is called."""
        self._started.append(_now())
        self.calls += 1

    def leave(self, *_: object) -> None:
        """Note that it returned."""
        self._spans.append(_span(self._started.pop(), _now()))


@contextmanager
def time_call(pipe: Any) -> Iterator[Stopwatch]:
    """Time one call of a pipeline, and its denoisers with all that hangs on them.

    Hooks are put outside those that are there already: enter it after accelerating, so that deciding and forecasting
    count as the denoiser's time.
    """
    watch = Stopwatch()
    with ExitStack() as undo:
        for model in denoisers(pipe):
            undo.callback(model.register_forward_pre_hook(watch.enter, prepend=True).remove)
            undo.callback(model.register_forward_hook(watch.leave).remove)
        synchronize()
        started = time.perf_counter()
        yield watch
        synchronize()
        watch.seconds = time.perf_counter() - started


def denoisers(pipe: Any) -> list[nn.Module]:
    """Return the models of a pipeline that are timed and accelerated."""
    models = [getattr(pipe, name, None) for name in MODELS]
    return [getattr(model, "_orig_mod", model) for model in models if isinstance(model, nn.Module)]


def synchronize() -> None:
    """Wait for the accelerator, if one is in use."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def _now() -> Any:
    """A mark in time: on a CUDA device an event, so that nothing waits."""
    if not torch.cuda.is_available():
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _span(start: Any, end: Any) -> Callable[[], float]:
    if isinstance(start, float):
        return lambda: float(end - start)
    return lambda: float((end.synchronize(), start.elapsed_time(end) / 1e3)[1])
