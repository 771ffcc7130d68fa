"""Whether bfloat16 is worth it, which depends on the processor, and what stays in float32 there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


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


class WideWhereFaster(TorchFunctionMode):
    """Inside it, attention and the normalisation of queries and keys compute in float32, also under autocast.

    On processors: the fused kernel of attention takes much longer to go back through bfloat16 than through float32,
    and there is none for the normalisation of bfloat16 by float32 weights.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch."""
        if func not in (F.scaled_dot_product_attention, F.rms_norm):
            return func(*args, **(kwargs or {}))
        with torch.autocast("cpu", enabled=False):
            return func(*map(_wide, args), **{name: _wide(value) for name, value in (kwargs or {}).items()})


def keep_wide(layer: nn.Module) -> None:
    """Make a layer compute in float32, also under autocast: the first of a residual stream, so that all of it is."""
    layer.register_forward_hook(_again)


def _again(layer: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    """A layer's output in float32."""
    if output.dtype == torch.float32:
        return output
    with torch.autocast(output.device.type, enabled=False):
        result: Tensor = layer.forward(*(value.float() for value in args))
    return result


def _wide(value: Any) -> Any:
    """A tensor of floating point numbers in float32; anything else as it is."""
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
