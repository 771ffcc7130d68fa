"""Times calls where they take place, so that nobody waits for a GPU to know."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

Reading = Callable[[], float]


def stopwatch(device: torch.device | None) -> Callable[[], Reading]:
    """Start a stopwatch; stopping it returns a reading in seconds that is taken later, so that no GPU is waited for.

    Args:
        device: Where the call takes place; ``None`` where nothing says it, as on a CPU.

    Example:
        >>> stop = stopwatch(torch.device("cpu"))
        >>> stop()() >= 0
        True
    """
    if device is not None and device.type == "cuda":
        return _on_cuda()
    started = time.perf_counter()

    def stop() -> Reading:
        seconds = time.perf_counter() - started
        return lambda: seconds

    return stop


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
