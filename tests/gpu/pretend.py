"""A device that is none, in place of a GPU: what would wait for it is noted, and tensors on two devices do not mix.

It is torch's ``meta`` device, whose tensors have shapes and no numbers: reading one is an error.
"""

from __future__ import annotations

import traceback
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

DEVICE = torch.device("meta")
READS = {"_local_scalar_dense", "equal", "nonzero", "is_nonzero", "masked_select", "unique", "_unique2"}
MOVES = {"_to_copy", "copy_"}


class Pretend(TorchDispatchMode):
    """Follows what is done inside a ``with`` block, and notes in ``waits`` where the host would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.__name__.partition(".")[0]
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        places = {x.device.type for x in tensors if x.ndim}
        if name not in MOVES and len(places) > 1:
            raise RuntimeError(f"{func} of tensors on {sorted(places)}")
        if waits(name, args, kwargs):
            lines = [f"{x.filename}:{x.lineno}" for x in traceback.extract_stack() if "/padecast/" in x.filename]
            self.waits.append(f"{func} at {(lines or ['elsewhere'])[-1]}")
        return func(*args, **kwargs)


def waits(name: str, args: Any, kwargs: Any) -> bool:
    """Whether an operation waits for the device: it moves something without saying that it need not, or reads."""
    if name == "_to_copy":
        target = kwargs.get("device")
        return target is not None and target.type != args[0].device.type and not kwargs.get("non_blocking")
    if name == "copy_":
        blocks = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        return blocks and args[0].device.type != args[1].device.type
    is_there = any(isinstance(x, Tensor) and x.device == DEVICE for x in tree_leaves(args))
    is_mask = name == "index" and any(x is not None and x.dtype == torch.bool for x in args[1])
    return is_there and (name in READS or is_mask)
