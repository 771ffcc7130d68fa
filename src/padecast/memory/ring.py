"""Where the remembered residuals of one stream lie: on the device or on the host, in their dtype or another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from padecast._errors import check

NARROW = tuple(
    getattr(torch, name)
    for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
    if hasattr(torch, name)
)
"""Dtypes that need a scale of their own per sample, and in which torch does not calculate."""


@dataclass(frozen=True)
class Storage:
    """How residuals are stored.

    Args:
        dtype: Of the stored values; that of the features unless given. Float8 and float16 values are
            stored relative to the largest of their sample.
        offload: Whether they lie in host memory (pinned, where the features are on a GPU), and come back when they
            are needed, the next one while the one before is used.

    Raises:
        InvalidOption: If the dtype is not a floating-point one.
    """

    dtype: torch.dtype | None = None
    offload: bool = False

    def __post_init__(self) -> None:
        floating = self.dtype is None or (isinstance(self.dtype, torch.dtype) and self.dtype.is_floating_point)
        check(floating, "dtype", self.dtype, "a floating-point torch.dtype")


class Ring:
    """``window`` slots ``(B, ...)`` for the residuals of one stream.

    Args:
        like: The features.
        window: Number of slots.
        storage: Where and in which dtype.
    """

    def __init__(self, like: Tensor, window: int, storage: Storage) -> None:
        scaled = storage.dtype in NARROW or (storage.dtype is torch.float16 and like.dtype is not torch.float16)
        self._device = like.device
        self._wide = torch.promote_types(like.dtype, torch.float32)
        away = storage.offload and like.device.type != "cpu"
        self._slots = torch.empty(
            (window, *like.shape),
            dtype=storage.dtype or like.dtype,
            device="cpu" if away else like.device,
            pin_memory=away and like.device.type == "cuda",
        )
        self._scales = like.new_ones((window, like.shape[0]), dtype=self._wide) if scaled else None
        self._copies = torch.cuda.Stream(like.device) if away and like.device.type == "cuda" else None
        self._away = away

    @property
    def nbytes(self) -> int:
        """Bytes of all slots, and of their scales."""
        return self._slots.nbytes + (0 if self._scales is None else self._scales.nbytes)

    def hold(self, place: int, x: Tensor) -> Tensor:
        """Return a copy of ``x`` in a slot, or ``x`` where slots are of another kind."""
        slot = self._slots[place]
        return x if self._away or slot.dtype != x.dtype else slot.copy_(x)

    def write(self, place: int, x: Tensor, y: Tensor) -> Tensor:
        """Store ``y - x`` in a slot, which may be where ``x`` lies; returns it as stored, on the features' device."""
        slot = self._slots[place]
        if not self._away and slot.dtype == x.dtype == y.dtype:
            return torch.sub(y, x, out=slot)
        residual = y - x
        if self._scales is not None:
            residual = residual.to(self._wide)
            most = residual.abs().flatten(1).amax(1) if residual.ndim > 1 else residual.abs()
            self._scales[place] = most.clamp_min(torch.finfo(self._wide).tiny) / torch.finfo(slot.dtype).max
            residual = residual / _column(self._scales[place], residual)
        slot.copy_(residual, non_blocking=self._away)
        return self._restore(residual.to(slot.dtype), place)

    def read(self, places: Sequence[int]) -> Iterable[Tensor]:
        """Give slots one after the other on the features' device; offloaded ones are fetched one ahead."""
        # Where they lie as they are used, nothing is made.
        return self._fetch_all(places) if self._away or self._scales is not None else [self._slots[p] for p in places]

    def _fetch_all(self, places: Sequence[int]) -> Iterator[Tensor]:
        if self._copies is None:
            yield from (self._restore(self._slots[place].to(self._device), place) for place in places)
            return
        coming = self._fetch(places[0]) if places else None
        for place, following in zip(places, [*places[1:], None], strict=True):
            assert coming is not None
            slot, ready = coming
            coming = None if following is None else self._fetch(following)
            torch.cuda.current_stream(self._device).wait_event(ready)
            slot.record_stream(torch.cuda.current_stream(self._device))
            yield self._restore(slot, place)

    def block(self, count: int, dtype: torch.dtype) -> Tensor | None:
        """Return the first slots as one tensor ``(count, B, ...)`` if they lie ready in a dtype, else nothing."""
        return None if self._away or self._slots.dtype != dtype else self._slots[:count]

    def _fetch(self, place: int) -> tuple[Tensor, torch.cuda.Event]:
        assert self._copies is not None
        self._copies.wait_stream(torch.cuda.current_stream(self._device))  # the slot may just have been written
        with torch.cuda.stream(self._copies):
            slot = self._slots[place].to(self._device, non_blocking=True)
            return slot, self._copies.record_event()

    def _restore(self, slot: Tensor, place: int) -> Tensor:
        if self._scales is None:
            return slot
        return slot.to(self._wide) * _column(self._scales[place], slot)


def _column(values: Tensor, like: Tensor) -> Tensor:
    """Return ``(B,)`` as ``(B, 1, ...)``."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))
