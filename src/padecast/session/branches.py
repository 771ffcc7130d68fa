"""What every branch of a run remembers, each on its own."""

from __future__ import annotations

from typing import Any

from padecast._errors import FeatureChanged
from padecast._geometry import Geometry
from padecast.memory.arithmetic import Streams
from padecast.memory.memory import Memory
from padecast.memory.ring import Storage


class Branches:
    """The histories of a run's branches.

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
        self._memories: dict[str, Memory] = {}

    def __getitem__(self, branch: str) -> Memory:
        return self._memories[branch]

    def get(self, branch: str) -> Memory | None:
        """Return the history of a branch, if it has one."""
        return self._memories.get(branch)

    def fitting(self, branch: str, entry: Streams) -> Memory:
        """Return the history of a branch, an empty one if it has none of such features."""
        memory = self._memories.get(branch)
        if memory is None or not memory.fits(entry):
            memory = self._memories[branch] = self._empty(entry)
        return memory

    def drop(self, branch: str) -> None:
        """Let go of the history of a branch, if it has one."""
        self._memories.pop(branch, None)

    def release(self) -> None:
        """Let go of all histories: the run is over."""
        memories, self._memories = list(self._memories.values()), {}
        # Every session begins with a release of nothing, which must leave it the slots of the run before.
        if memories:
            self._spare[:] = memories

    @property
    def nbytes(self) -> int:
        """Bytes that they take."""
        return sum(memory.nbytes for memory in self._memories.values())

    def geometry(self, computed: tuple[int, ...]) -> Geometry | None:
        """Return what the branches of the latest computed step remember, or ``None`` if nothing is remembered."""
        memories = [memory for memory in self._memories.values() if len(memory)]
        if not memories:
            return None
        # Guidance that has ended says nothing of the steps to come.
        current = [memory for memory in memories if memory.latest == computed[-1]] or memories
        geometries = sorted(
            (memory.geometry() for memory in current), key=lambda geometry: geometry.index, reverse=True
        )
        joined = geometries[0].joined(geometries[1:])
        # Moments reach further back than the residuals whose inner products are kept.
        return joined if joined.gram is None else joined.newest(joined.gram.shape[-1])

    def _empty(self, entry: Streams) -> Memory:
        """Return an empty history for features, with the slots of an earlier run's if they fit."""
        for place, memory in enumerate(self._spare):
            same = (memory.window, memory.moments, memory.measure, memory.storage) == self._kind
            if same and memory.group is self._group and memory.fits(entry):
                memory.clear()
                return self._spare.pop(place)
        self._spare.clear()  # features of another kind: those of before are not kept beside them
        return Memory(*self._kind, self._group)


def check_shapes(entry: Streams, output: Streams) -> None:
    """Raise if a stack's output has another shape than its input.

    Raises:
        FeatureChanged: With both shapes.
    """
    for x, y in zip(entry, output, strict=True):
        if x.shape != y.shape:
            raise FeatureChanged(
                f"the stack was given {tuple(x.shape)} and returned {tuple(y.shape)}: there is no residual "
                "between them.\nUsual cause: a span that begins or ends where the model concatenates or drops "
                "tokens. Choose another span."
            )
