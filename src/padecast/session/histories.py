"""What the branches of a run remember: made from the slots of the run before, read together, and given back."""

from __future__ import annotations

from typing import Any

from padecast._geometry import Geometry
from padecast.memory.arithmetic import Streams
from padecast.memory.memory import Memory
from padecast.memory.ring import Storage


class Histories:
    """The histories of a run's branches, by their names.

    Args:
        window: Residuals that each keeps in full.
        moments: Basis functions whose moments each keeps.
        measure: Whether they keep inner products.
        storage: Where and in which dtype residuals lie.
        spare: Histories of an earlier run, whose memory is used again; this one's go there when it is over.
        group: Processes that hold the other parts of the same features. Default none.
    """

    def __init__(
        self, window: int, moments: int, measure: bool, storage: Storage, spare: list[Memory], group: Any = None
    ) -> None:
        self._kind, self._group = (window, moments, measure, storage), group
        self._spare = spare
        self.memories: dict[str, Memory] = {}

    def make(self, branch: str, inputs: Streams) -> Memory:
        """Return the history of a branch, an empty one if it has none of such features."""
        memory = self.memories.get(branch)
        if memory is None or not memory.fits(inputs):
            memory = self.memories[branch] = self._empty(inputs)
        return memory

    def drop(self, branch: str) -> None:
        """Let go of the history of a branch, if it has one."""
        self.memories.pop(branch, None)

    def close(self) -> None:
        """Let go of all histories, whose slots the next run may use: this one is over."""
        memories, self.memories = list(self.memories.values()), {}
        # Every session begins by closing nothing, which must leave it the slots of the run before.
        if memories:
            self._spare[:] = memories

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return sum([memory.nbytes for memory in self.memories.values()])

    def join(self, latest: int) -> Geometry | None:
        """Return what branches remember together, or ``None`` if nothing is remembered.

        Args:
            latest: The computed step begun last: guidance that has ended says nothing of the steps to come.
        """
        filled = []
        for memory in self.memories.values():
            if len(memory):
                filled.append(memory)
        if not filled:
            return None
        if len(filled) == 1:
            geometry = filled[0].geometry()
        else:
            current = [memory for memory in filled if memory.latest == latest] or filled
            geometries = sorted([memory.geometry() for memory in current], key=lambda each: each.index, reverse=True)
            geometry = geometries[0].joined(geometries[1:])
        # Moments reach further back than the residuals whose inner products are kept.
        gram = geometry.gram
        return geometry if gram is None or len(geometry.index) <= gram.shape[-1] else geometry.newest(gram.shape[-1])

    def _empty(self, inputs: Streams) -> Memory:
        """Return an empty history for features, with the slots of an earlier run's if they fit."""
        for place, memory in enumerate(self._spare):
            same = (memory.window, memory.moments, memory.measure, memory.storage) == self._kind
            if same and memory.group is self._group and memory.fits(inputs):
                memory.clear()
                return self._spare.pop(place)
        self._spare.clear()  # features of another kind: those of before are not kept beside them
        return Memory(*self._kind, self._group)
