"""Which rows of a block's streams count: a sample's own, and not those that fill up a batch of unequal captions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from padecast.memory.arithmetic import Rows, Streams

Known = dict[str, tuple[int, Tensor | None]]
"""For every stream of a block its number of rows, and ``(B, N)`` which of them count; ``None`` if all do."""


def read_rows(
    masks: Mapping[str, Sequence[str]], samples: int | None, names: Sequence[str], arguments: Mapping[str, Any]
) -> Known:
    """Return which rows count of the streams that a block is given; nothing if no mask says so.

    A mask of another length than the streams that it is said to cover says nothing of them.

    Args:
        masks: See ``Target.masks``.
        samples: Which dimension of a stream counts the samples.
        names: Of the streams.
        arguments: The block's arguments.
    """
    tensors = {path: _mask(arguments, path) for path in masks}
    if samples is None or all(mask is None for mask in tensors.values()):
        return {}
    covered = dict.fromkeys((*(name for path in masks for name in masks[path]), *names))
    streams = {name: x for name in covered if isinstance(x := arguments.get(name), Tensor) and x.ndim > 2}
    stream_rows: Known = {name: (x.shape[0 if samples else 1], None) for name, x in streams.items()}
    for path, mask in tensors.items():
        present = [name for name in masks[path] if name in stream_rows]
        sizes = [stream_rows[name][0] for name in present]
        rows = read_mask(mask, streams[present[0]].shape[samples]) if mask is not None and present else None
        if rows is not None and rows.shape[1] == sum(sizes):
            parts = zip(present, sizes, rows.split(sizes, 1), strict=True)
            stream_rows.update({name: (size, part) for name, size, part in parts})
    return stream_rows if any(mask is not None for _, mask in stream_rows.values()) else {}


def _mask(arguments: Mapping[str, Any], path: str) -> Tensor | None:
    value: Any = arguments
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Tensor) and value.ndim > 1 else None


def read_mask(mask: Tensor, batch: int) -> Tensor | None:
    """Return which rows are looked at, ``(B, N)``: by the last query, if the mask tells queries apart.

    Args:
        mask: ``(B, N)``, or of attention ``(B, ..., N)``.
        batch: Samples B; a mask for another number of them, but for one, says nothing.

    Example:
        >>> read_mask(torch.tensor([[[0.0, -torch.inf]]]), 2)
        tensor([[ True, False],
                [ True, False]])
    """
    if mask.ndim < 2 or len(mask) not in (1, batch):
        return None
    seen = mask.reshape(len(mask), -1, mask.shape[-1])[:, -1].expand(batch, -1)
    return seen > -1 if seen.is_floating_point() else seen.bool()  # such numbers are added to what attention weighs


def joint(stream_rows: Known, names: Sequence[str]) -> Tensor | None:
    """Return which rows count of streams that are concatenated; ``None`` if all do."""
    some = next((mask for name in names if (mask := stream_rows.get(name, (0, None))[1]) is not None), None)
    if some is None or any(name not in stream_rows for name in names):
        return None
    parts = [
        some.new_ones(len(some), size) if mask is None else mask for size, mask in map(stream_rows.__getitem__, names)
    ]
    return torch.cat(parts, 1)


def matching(stream_rows: Known, streams: Streams, text: bool = False) -> Rows | None:
    """Return which rows of a module's outputs ``(B, N, D)`` count, told by their number; ``None`` if all do.

    Args:
        stream_rows: Of the block that the module lies in.
        streams: What it returned; of two, the second belongs to the text.
        text: Whether a single one does, which counts where text and image have as many rows.
    """
    rows = tuple(_match(stream_rows, x, text or place > 0) if x.ndim == 3 else None for place, x in enumerate(streams))
    return rows if any(mask is not None for mask in rows) else None


def _match(stream_rows: Known, x: Tensor, text: bool) -> Tensor | None:
    like = sorted(
        (name for name in stream_rows if stream_rows[name][0] == x.shape[1]), key=lambda n: ("encoder" in n) != text
    )
    mask = joint(stream_rows, like[:1] or tuple(stream_rows))
    return mask if mask is not None and mask.shape == x.shape[:2] else None
