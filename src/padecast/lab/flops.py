"""Operations of a pipeline's denoiser, counted as they are dispatched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

from padecast.lab.runner import UNCACHED, Entry, Task, draw
from padecast.lab.timing import denoisers


class Operations(TorchDispatchMode):
    """Adds up operations by torch's own formulas, those of ``torch.utils.flop_counter``.

    Torch's counter also keeps a tree of modules, which caches that put models inside of blocks do not leave a tree.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run one operation, and count it if it is a product."""
        kwargs = kwargs or {}
        formula = FORMULAS.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **kwargs)
                if parts is not NotImplemented:
                    return parts
        output = func(*args, **kwargs)
        if formula is not None:
            self.total += int(formula(*args, **kwargs, out_val=output))
        return output


def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    """Return the operations of scaled dot-product attention."""
    return int(sdpa_flop_count(query.shape, key.shape, value.shape))


FORMULAS: dict[Any, Any] = {
    **flop_registry,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,  # torch counts attention on GPUs alone
}


@contextmanager
def count_operations(pipe: Any) -> Iterator[Operations]:
    """Count the operations of a pipeline's denoisers inside the block."""
    operations, entered = Operations(), list[Operations]()

    def enter(*_: object) -> None:
        entered.append(operations.__enter__())  # type: ignore[no-untyped-call]

    def leave(*_: object) -> None:
        if entered:
            entered.pop().__exit__(None, None, None)  # type: ignore[no-untyped-call]

    with ExitStack() as undo:
        for model in denoisers(pipe):
            undo.callback(model.register_forward_pre_hook(enter, prepend=True).remove)
            undo.callback(model.register_forward_hook(leave, always_call=True).remove)
        yield operations


def flops_share(task: Task, entry: Entry) -> float:
    """Return the denoiser's operations under an entry over those of the uncached run, of the first batch.

    It says how much of the work is left, and is no speedup: what is left may be slower or faster than the rest.

    Args:
        task: What to sample.
        entry: How.
    """
    totals = []
    for way in (entry, UNCACHED):
        with count_operations(task.pipe) as operations:
            draw(task, way, task.batches()[0])
        totals.append(operations.total)
    return totals[0] / max(totals[1], 1)
