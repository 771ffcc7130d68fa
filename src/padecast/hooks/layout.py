"""How tensors hold samples: together in their first dimension, as one list, or one sample in all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from padecast.memory.arithmetic import Rows, Streams


@dataclass(frozen=True)
class Like:
    """The shape, dtype and device of a feature."""

    shape: torch.Size
    dtype: torch.dtype
    device: torch.device

    @classmethod
    def of(cls, x: Tensor) -> Like:
        """Note those of a feature."""
        return cls(x.shape, x.dtype, x.device)

    def zeros(self) -> Tensor:
        """Make zeros like the feature."""
        return torch.zeros(self.shape, dtype=self.dtype, device=self.device)


@dataclass(frozen=True)
class Layout:
    """Where the samples of some tensors are, and the same tensors with their samples first.

    A list of samples becomes one stream. Where they differ in shape, that is ``(B, N, 1)``, each in one row of numbers
    that is filled up with zeros.

    Args:
        likes: The tensors.
        listed: Whether each of them is a sample.
        single: Whether all of them are one sample, unless each is one.
        second: Whether samples lie in the second dimension of otherwise common ones.

    Example:
        >>> samples = [torch.ones(2, 3), torch.ones(1, 4)]
        >>> layout = Layout(tuple(map(Like.of, samples)), listed=True)
        >>> (stream,) = layout.inward(samples)
        >>> stream.shape, layout.rows((stream,))[0].sum(1), [x.shape for x in layout.outward((stream,))]
        (torch.Size([2, 6, 1]), tensor([6, 4]), [torch.Size([2, 3]), torch.Size([1, 4])])
    """

    likes: tuple[Like, ...]
    listed: bool = False
    single: bool = False
    second: bool = False

    @cached_property
    def is_list(self) -> bool:
        """Whether each tensor is one sample, all of a dtype and on a device."""
        return self.listed and len({(like.dtype, like.device) for like in self.likes}) == 1

    @cached_property
    def _alike(self) -> bool:
        return len({like.shape for like in self.likes}) == 1

    def matches(self, features: Sequence[Tensor]) -> bool:
        """Whether features have the shapes, dtypes and devices of these tensors."""
        if len(features) != len(self.likes):
            return False
        for x, like in zip(features, self.likes, strict=True):
            if (x.shape, x.dtype, x.device) != (like.shape, like.dtype, like.device):
                return False
        return True

    def inward(self, features: Sequence[Tensor]) -> Streams:
        """Return the tensors with their samples first."""
        if not self.is_list:
            if self.single:
                return tuple(x[None] for x in features)
            return self._turn(features) if self.second else tuple(features)
        if self._alike:
            return (torch.stack(tuple(features)),)
        return (pad_sequence([x.reshape(-1) for x in features], batch_first=True)[..., None],)

    def _turn(self, features: Sequence[Tensor]) -> Streams:
        return tuple(x.transpose(0, 1) if x.ndim > 2 else x for x in features)

    def outward(self, streams: Streams) -> Sequence[Tensor]:
        """Return the tensors as they were."""
        if not self.is_list:
            if self.single:
                return tuple(x[0] for x in streams)
            return self._turn(streams) if self.second else streams
        if self._alike:
            return streams[0].unbind()
        rows = zip(streams[0], self.likes, strict=True)
        return [row[: like.shape.numel(), 0].reshape(like.shape) for row, like in rows]

    def rows(self, streams: Streams) -> Rows | None:
        """Return which numbers of every sample are its own, where they are filled up; ``None`` if all are."""
        if not self.is_list or self._alike:
            return None
        places = torch.arange(streams[0].shape[1], device=streams[0].device)
        return (torch.stack([places < like.shape.numel() for like in self.likes]),)
