"""Whether bfloat16 is worth it, which depends on the processor."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn


@torch.no_grad()
def faster_in_bfloat16(device: torch.device, repeats: int = 5) -> bool:
    """Whether a product of matrices takes clearly less time in bfloat16.

    Args:
        device: where to time it.
        repeats: of which the fastest counts, default 5.
    """
    layer, inputs = nn.Linear(512, 512, device=device), torch.randn(1024, 512, device=device)
    return _time(layer, inputs, True, repeats) < 0.8 * _time(layer, inputs, False, repeats)


def _time(layer: nn.Module, inputs: Tensor, bfloat16: bool, repeats: int) -> float:
    """Seconds of the fastest of some calls, the first left out."""
    taken = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bfloat16):
            float(layer(inputs).sum())  # waits for the device
        taken.append(time.perf_counter() - start)
    return min(taken[1:])
