"""Which rows of a block's streams count: a sample's own, and not those that fill up a batch of unequal captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from padecast.memory.arithmetic import Rows, Streams

Known = dict[str, tuple[int, Tensor | None]]
"""For every stream of a block its number of rows, and ``(B, N)`` which of them count; ``None`` if all do."""


def known_rows(
    masks: Mapping[str, Sequence[str]], samples: int | None, names: Sequence[str], given: Mapping[str, Any]
) -> Known:
    """Return which rows count of the streams that a block is given; nothing if no mask says so.

    A mask of another length than the streams that it is said to cover says nothing of them.

    Args:
        masks: See ``Target.masks``.
        samples: Which dimension of a stream counts the samples.
        names: Of the streams.
        given: The block's arguments.
    """
    found = {path: _mask(given, path) for path in masks}
    if samples is None or all(mask is None for mask in found.values()):
        return {}
    covered = dict.fromkeys((*(name for path in masks for name in masks[path]), *names))
    streams = {name: x for name in covered if isinstance(x := given.get(name), Tensor) and x.ndim > 2}
    known: Known = {name: (x.shape[0 if samples else 1], None) for name, x in streams.items()}
    for path, mask in found.items():
        present = [name for name in masks[path] if name in known]
        sizes = [known[name][0] for name in present]
        rows = kept_rows(mask, streams[present[0]].shape[samples]) if mask is not None and present else None
        if rows is not None and rows.shape[1] == sum(sizes):
            parts = zip(present, sizes, rows.split(sizes, 1), strict=True)
            known.update({name: (size, part) for name, size, part in parts})
    return known if any(mask is not None for _, mask in known.values()) else {}


def _mask(given: Mapping[str, Any], path: str) -> Tensor | None:
    value: Any = given
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Tensor) and value.ndim > 1 else None


def kept_rows(mask: Tensor, batch: int) -> Tensor | None:
    """Return which rows are looked at, ``(B, N)``: by the last query, if the mask tells queries apart.

    Args:
        mask: ``(B, N)``, or of attention ``(B, ..., N)``.
        batch: Samples B; a mask for another number of them, but for one, says nothing.

    Example:
        >>> kept_rows(torch.tensor([[[0.0, -torch.inf]]]), 2)
        tensor([[ True, False],
                [ True, False]])
    """
    if mask.ndim < 2 or len(mask) not in (1, batch):
        return None
    seen = mask.reshape(len(mask), -1, mask.shape[-1])[:, -1].expand(batch, -1)
    return seen > -1 if seen.is_floating_point() else seen.bool()  # such numbers are added to what attention weighs


def joint(known: Known, names: Sequence[str]) -> Tensor | None:
    """Return which rows count of streams that are concatenated; ``None`` if all do."""
    some = next((mask for name in names if (mask := known.get(name, (0, None))[1]) is not None), None)
    if some is None or any(name not in known for name in names):
        return None
    parts = [some.new_ones(len(some), size) if mask is None else mask for size, mask in map(known.__getitem__, names)]
    return torch.cat(parts, 1)


def matching(known: Known, streams: Streams, text: bool = False) -> Rows | None:
    """Return which rows of a module's outputs ``(B, N, D)`` count, told by their number; ``None`` if all do.

    Args:
        known: Of the block that the module lies in.
        streams: What it returned; of two, the second belongs to the text.
        text: Whether a single one does, which counts where text and image have as many rows.
    """
    rows = tuple(_match(known, x, text or place > 0) if x.ndim == 3 else None for place, x in enumerate(streams))
    return rows if any(mask is not None for mask in rows) else None


def _match(known: Known, x: Tensor, text: bool) -> Tensor | None:
    like = sorted((name for name in known if known[name][0] == x.shape[1]), key=lambda n: ("encoder" in n) != text)
    mask = joint(known, like[:1] or tuple(known))
    return mask if mask is not None and mask.shape == x.shape[:2] else None
