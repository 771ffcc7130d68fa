"""How long did it take? Without waiting for the GPU."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

Reading = Callable[[], float]


def stopwatch(device: torch.device) -> Callable[[], Reading]:
    """Start a stopwatch; stopping it returns a reading in seconds that is taken later, so that no GPU is waited for.

    Example:
        >>> stop = stopwatch(torch.device("cpu"))
        >>> stop()() >= 0
        True
    """
    return _on_cuda() if device.type == "cuda" else _on_host()


def _on_cuda() -> Callable[[], Reading]:
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()

    def stop() -> Reading:
        end.record()
        return read

    def read() -> float:
        end.synchronize()
        return float(start.elapsed_time(end)) / 1e3

    return stop


def _on_host() -> Callable[[], Reading]:
    started = time.perf_counter()

    def stop() -> Reading:
        seconds = time.perf_counter() - started
        return lambda: seconds

    return stop
