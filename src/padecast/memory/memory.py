"""How the residuals of a branch are kept, measured and mixed.

Shapes: a stack carries one or more streams (image tokens, text tokens), each ``(B, ...)``. The residual of a stack is
its output minus its input, stream by stream.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from padecast._geometry import Geometry
from padecast._steps import Position
from padecast.memory.arithmetic import (
    Ready,
    Rows,
    Streams,
    elements,
    inner_products,
    pad,
    product,
    products_are_exact,
    sum_weighted,
)
from padecast.memory.group import sum_over
from padecast.memory.ring import Ring, Storage


class Memory:
    """The residuals of one branch: a preallocated ring of the newest ones, and moments where a forecaster wants them.

    A ring of ``window`` residuals per stream ``(window, B, ...)``, filled in turn; the new residual is subtracted
    straight into its slot. A forecaster with a basis ``phi`` (see ``Forecaster.basis``) gets ``moments`` further slots
    that hold ``sum_j phi_m(t_j) R_j``, so that its memory does not grow with the run.

    Args:
        window: Residuals kept in full, at least 1.
        moments: Basis functions whose moments are kept, 0 for none.
        measure: Whether to keep the Gram matrix.
        storage: Where and in which dtype residuals lie; on the features' device and in their dtype unless given.
        group: Processes that hold the other parts of the same features, whose inner products are summed.
    """

    def __init__(
        self,
        window: int,
        moments: int = 0,
        measure: bool = True,
        storage: Storage = Storage(),  # noqa: B008 - frozen
        group: Any = None,
    ) -> None:
        self.window, self.moments, self.measure = window, moments, measure
        self.storage, self.group = storage, group
        self._likes: list[tuple[torch.Size, torch.dtype, torch.device]] = []
        self._ring: list[Ring] = []
        self._sums: list[Tensor] = []
        self._gram: Tensor | None = None
        self.clear()

    def clear(self) -> None:
        """Forget every residual, and keep the slots: the run is over."""
        for sums in self._sums:
            sums.zero_()
        self._places: list[int] = []
        self._positions: list[Position] = []
        self._geometry: Geometry | None = None  # until another residual is remembered

    def __len__(self) -> int:
        return len(self._positions)

    @property
    def nbytes(self) -> int:
        """Bytes that the preallocated slots take."""
        return sum(ring.nbytes for ring in self._ring) + sum(x.numel() * x.element_size() for x in self._sums)

    @property
    def kept(self) -> int:
        """Number of residuals kept in full."""
        return len(self._places)

    @property
    def latest(self) -> int:
        """Step index of the newest residual."""
        return self._positions[0].index

    def fits(self, streams: Streams) -> bool:
        """Whether these features have the shape, dtype and device of the remembered ones."""
        if len(streams) != len(self._likes):
            return False
        for x, like in zip(streams, self._likes, strict=True):  # noqa: SIM110 - a generator costs more than the looks
            if (x.shape, x.dtype, x.device) != like:
                return False
        return True

    def hold(self, inputs: Streams) -> Streams:
        """Return copies of the input in the slots that :meth:`remember` fills next, or the input if slots differ.

        The oldest residual of a full ring is gone from here on.
        """
        if not self._ring:
            self._allocate(inputs)
        place = len(self._positions) % self.window
        return tuple(ring.hold(place, x) for ring, x in zip(self._ring, inputs, strict=True))

    def remember(
        self, at: Position, inputs: Streams, output: Streams, basis: Tensor | None = None, rows: Rows | None = None
    ) -> None:
        """Store ``output - inputs`` as the newest residual, dropping the oldest one when the ring is full.

        Args:
            at: The step.
            inputs: What the stack was given.
            output: What it returned.
            basis: The weights of the residual in the moments.
            rows: Which rows inner products are taken over: their mean must not depend on how far a sample's batch is
                filled up. Default all.
        """
        if not self._ring:
            self._allocate(inputs)
        self._geometry = None
        place = len(self._positions) % self.window
        self._places = [place, *(p for p in self._places if p != place)]
        residuals = [ring.write(place, x, y) for ring, x, y in zip(self._ring, inputs, output, strict=True)]
        for m, weight in enumerate([] if basis is None else basis.tolist()):
            for residual, sums in zip(residuals, self._sums, strict=True):
                sums[m].add_(residual, alpha=weight)
        self._positions.insert(0, at)
        if self.measure:
            self._update_gram(place, residuals, rows or (None,) * len(residuals))

    def renew(self, inputs: Streams, output: Streams) -> None:
        """Put ``output - inputs`` in place of the newest residual; times and inner products stay what they were."""
        for ring, x, y in zip(self._ring, inputs, output, strict=True):
            ring.write(self._places[0], x, y)

    def geometry(self) -> Geometry:
        """Return what forecasters and policies may know of it, newest first."""
        if self._geometry is None:
            positions = self._positions if self.moments else self._positions[: self.window]
            gram = None if self._gram is None else self._newest_first(self._newest_first(self._gram, 1), 2)
            self._geometry = Geometry(
                tuple([position.index for position in positions]),
                tuple([position.time for position in positions]),
                gram,
                batch=self._likes[0][0][0] if self._ring else 1,
            )
        return self._geometry

    def add(self, inputs: Streams, weights: Tensor) -> Streams:
        """Return ``inputs + sum_k w_k R_k`` for weights on the ring, newest first; the rest of it counts nothing."""
        weights = pad(weights, len(self._places))
        return tuple([self._sum(x, ring, weights) for x, ring in zip(inputs, self._ring, strict=True)])

    def _sum(self, start: Tensor, ring: Ring, weights: Tensor) -> Tensor:
        block = ring.block(len(self._places), start.dtype)
        # On a GPU weights from the host are used as plain numbers, since sending them would wait; and a slot without
        # weight is not read, whatever it holds.
        plain = weights.ndim == 1 and (start.device.type != "cpu" or not bool(weights.all()))
        narrow = start.dtype not in (torch.float32, torch.float64)
        if block is None or plain or narrow or not products_are_exact():
            return sum_weighted(start, ring.read(self._places), weights)
        in_place = weights.flip(-1).roll(self._places[0] + 1, -1)  # from newest first to slots
        return product(start, block, in_place)

    def ready(self, weights: Tensor) -> Ready | None:
        """Return :meth:`add` without its first argument; nothing if the residuals do not lie as the features do."""
        weights = pad(weights, len(self._places))
        blocks = [ring.block(self.kept, dtype) for ring, (_, dtype, _) in zip(self._ring, self._likes, strict=True)]
        slots = tuple(block for block in blocks if block is not None)
        if len(slots) < len(blocks):
            return None
        device, in_place = slots[0].device, weights.flip(-1).roll(self._places[0] + 1, -1)
        wide = torch.promote_types(slots[0].dtype, torch.float32)
        return Ready(slots, in_place.to(device, wide, non_blocking=True))

    def add_moments(self, inputs: Streams, weights: Tensor, mixture: Tensor) -> Streams:
        """Return ``inputs`` plus weights on the newest residuals plus a mixture of the moments."""
        both, places = torch.cat([weights, mixture]), self._places[: len(weights)]
        return tuple(
            sum_weighted(x, chain(ring.read(places), sums), both)
            for x, ring, sums in zip(inputs, self._ring, self._sums, strict=True)
        )

    def residuals(self) -> list[Streams]:
        """Return the remembered residuals, newest first; views of the ring where they lie as they are."""
        return [tuple(next(iter(ring.read([place]))) for ring in self._ring) for place in self._places]

    @torch.inference_mode(False)  # the next run, which uses the slots again, may not be in inference mode
    def _allocate(self, inputs: Streams) -> None:
        ring = [Ring(x, self.window, self.storage) for x in inputs]
        wide = [torch.promote_types(x.dtype, torch.float32) for x in inputs]
        sums = [x.new_zeros((self.moments, *x.shape), dtype=w) for x, w in zip(inputs, wide, strict=True)]
        exact = torch.float32 if inputs[0].device.type == "mps" else torch.float64
        square = (inputs[0].shape[0], self.window, self.window)
        gram = inputs[0].new_zeros(square, dtype=exact) if self.measure else None
        # Nothing is kept of slots of which some could not be had; the ring, by which others see them, comes last.
        self._likes, self._sums, self._gram = [(x.shape, x.dtype, x.device) for x in inputs], sums, gram
        self._ring = ring

    def _update_gram(self, place: int, residuals: Sequence[Tensor], rows: Rows) -> None:
        assert self._gram is not None
        filled = sorted(self._places)
        parts = zip(self._ring, residuals, rows, strict=True)
        products = sum(inner_products(ring.read(filled), residual, mask) for ring, residual, mask in parts)
        assert isinstance(products, Tensor)
        size = sum(elements(residual, mask) for residual, mask in zip(residuals, rows, strict=True))
        products, size = sum_over(products, size, self.group)
        products /= size[:, None].clamp_min(1) if isinstance(size, Tensor) else size
        self._gram[:, place, : len(filled)] = products
        self._gram[:, : len(filled), place] = products

    def _newest_first(self, matrix: Tensor, dim: int) -> Tensor:
        """Reorder one dimension from slots to newest first, without an index tensor and so without a transfer."""
        filled = matrix.narrow(dim, 0, len(self._places))
        return filled.roll(-(self._places[0] + 1), dim).flip(dim)
