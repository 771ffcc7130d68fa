"""Which tokens of a branch's modules are computed at a forecast step, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from padecast.forecasters import Forecaster
from padecast.forecasters.tokens import Tokens


@dataclass
class Attended:
    """What the attentions of one block showed at a computed step, for streams of so many tokens each.

    Args:
        influence: ``(B, N)`` attention that the tokens of a stream were paid, 1 on average.
        control: ``(B, N)`` entropy of a stream's attention to the text, in [0, 1].
    """

    influence: dict[int, Tensor] = field(default_factory=dict)
    control: dict[int, Tensor] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of it."""
        return sum(x.nbytes for kind in (self.influence, self.control) for x in kind.values())


class Renewal:
    """Ages of the tokens of every branch's modules, and what the attentions of their blocks showed.

    Args:
        forecaster: Chooses tokens, where it does that.
        alone: Whether no other process holds a part of the tokens; else attentions show too little.
    """

    def __init__(self, forecaster: Forecaster, alone: bool) -> None:
        self._forecaster = forecaster
        self.share = forecaster.renewed
        self.watches = alone and 0 < self.share < 1
        self.clear()

    def clear(self) -> None:
        """Forget everything: the run is over."""
        self._ages: dict[str, Tensor] = {}
        self._attended: dict[tuple[str, int], Attended] = {}
        self.one_by_one: set[str] = set()  # modules that were seen to treat every token by itself

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered."""
        ages = sum(age.nbytes for age in self._ages.values())
        return ages + sum(attended.nbytes for attended in self._attended.values())

    def fresh(self, key: str) -> None:
        """Note that a module was computed whole."""
        self._ages.pop(key, None)

    def note(self, block: tuple[str, int], influence: Mapping[int, Tensor], control: Mapping[int, Tensor]) -> None:
        """Note what an attention of a branch's block showed."""
        attended = self._attended.setdefault(block, Attended())
        attended.influence.update(influence)
        attended.control.update(control)

    def choose(
        self, key: str, block: tuple[str, int], like: Tensor, grid: tuple[int, ...], rows: Tensor | None = None
    ) -> Tensor:
        """Return which tokens of a module are computed at this step, ``(B, count)``; the others age.

        Args:
            key: The module's history.
            block: Its branch and block.
            like: Its input, ``(B, N, ...)``.
            grid: In which its tokens lie.
            rows: ``(B, N)`` which of them count. Default all.
        """
        shape, attended = like.shape[:2], self._attended.get(block, Attended())
        age = self._ages.get(key)
        if age is None or age.shape != shape:
            age = torch.zeros(shape, device=like.device)
        seen = [kind.get(shape[1]) for kind in (attended.influence, attended.control)]
        influence, control = (x if x is not None and x.shape == shape else None for x in seen)
        tokens = self._forecaster.chosen(Tokens(age, grid, influence, control, rows))
        self._ages[key] = (age + 1).scatter(1, tokens, 0.0)
        return tokens
