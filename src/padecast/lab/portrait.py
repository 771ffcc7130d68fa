"""A few samples step by step: their latents, the errors, and how features of different steps resemble one another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from padecast import targets
from padecast._errors import UnsupportedModel
from padecast.calibration.collect import watching
from padecast.calibration.statistic import gram_sum
from padecast.hooks.blocks.spans import stack_of
from padecast.lab.metrics import relative_errors
from padecast.lab.runner import UNCACHED, Entry, Task, draw
from padecast.memory.sketch import sketch
from padecast.targets.pipelines import models_of

SIZE = 251
"""Dimensions that latents are folded into, for pictures: distances are kept within some percent."""
FEATURES = 4093
"""Dimensions that features are folded into."""


def portrait(task: Task, entry: Entry) -> dict[str, Any]:
    """Draw a task's first batch, and record it step by step.

    Args:
        task: What to sample; of its seeds the first batch.
        entry: How. The uncached run also tells how features resemble one another.

    Returns:
        Plain data: ``path`` of shape ``(steps, seeds, size)``, ``errors`` of shape ``(steps, seeds)`` relative to the
        uncached run, ``nfe``, ``plan`` and, of the uncached run, ``cosines``, see :func:`cosines`.
    """
    seeds = task.batches()[0]
    reference = draw(task, UNCACHED, seeds)
    drawn = reference if entry.method is None and entry.steps is None else draw(task, entry, seeds)
    since = 0 if len(drawn.path) == len(reference.path) else -1
    return {
        "name": entry.name,
        "written": entry.written,
        "seeds": list(seeds),
        "nfe": drawn.nfe,
        "plan": drawn.plan,
        "path": [_round(sketch(latents.flatten(1).float().cpu(), SIZE)) for latents in drawn.path],
        "errors": _round(relative_errors(drawn.path[since:], reference.path[since:])),
        "cosines": cosines(task, seeds) if drawn is reference else {},
    }


def cosines(task: Task, seeds: Sequence[int]) -> dict[str, Any]:
    r"""Return how the features of every step resemble those of every other, of one uncached call.

    .. math:: \frac{\langle F_i, F_j \rangle}{|F_i| |F_j|}

    with inner products summed over samples and branches.

    Returns:
        ``"residuals"``, what the stack adds, and ``"outputs"``, what it returns, each ``(steps, steps)``; nothing for
        pipelines in which the stack is not known or has several parts that take turns.
    """
    try:
        with outputs_of(task.pipe) as seen, watching(task.pipe, size=FEATURES) as keeper:
            draw(task, UNCACHED, seeds)
        residuals = keeper.statistic(len(seeds)).gram()
    except UnsupportedModel:
        return {}
    branches = len(seen) // len(residuals)
    rows = [torch.stack(seen[branch::branches], dim=1) for branch in range(branches)]
    outputs = gram_sum(torch.cat(rows))
    return {"residuals": _round(_cosine(residuals)), "outputs": _round(_cosine(outputs))}


@contextlib.contextmanager
def outputs_of(pipe: Any) -> Iterator[list[Tensor]]:
    """Keep what the last block of every call returned in the main stream, folded to ``(B, m)``.

    Raises:
        UnsupportedModel: If no stack of blocks is known in the model.
    """
    model = models_of(pipe)[0]
    target, seen = targets.find(model), list[Tensor]()
    last = stack_of(model, target, "full").parts[-1]
    shape = list(target.blocks.values())[-1]

    def keep(_module: Any, _args: Any, output: Any) -> None:
        stream = output if isinstance(output, Tensor) else output[shape.names.index(target.streams("full")[0])]
        seen.append(sketch(stream.detach().flatten(1), FEATURES).cpu())

    hook = last.register_forward_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def _cosine(gram: Tensor) -> Tensor:
    length = gram.diagonal().clamp_min(torch.finfo(torch.float64).tiny).sqrt()
    return gram / length[:, None] / length[None, :]


def _round(tensor: Tensor) -> Any:
    def read(value: Any) -> Any:
        return [read(part) for part in value] if isinstance(value, list) else float(f"{value:.5g}")

    return read(tensor.tolist())
