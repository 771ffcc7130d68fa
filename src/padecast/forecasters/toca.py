"""ToCa: repeat what modules returned, and compute some of their tokens: those of the highest score.

Here is all that needs no model: scores, ages, cells. What attentions show, and how modules are run for some of their
tokens, needs to know where they lie in a model, and so lies above: in ``padecast/hooks/blocks/toca.py``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import precise
from padecast.forecasters.base import register
from padecast.forecasters.extras import Extra, State
from padecast.forecasters.reuse import Reuse

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class Tokens:
    """The tokens of one module at a forecast step, of which some are to be computed.

    Args:
        age: ``(B, N)`` forecast steps since each was computed; 0 at the first one after a computed step.
        grid: Sizes of the grid in which they lie, row by row; the product is N. A single size is a line.
        influence: ``(B, N)`` attention that the other tokens of the block paid each at the latest computed step, 1 on
            average; ``None`` if it was not seen.
        control: ``(B, N)`` entropy of each one's attention to the text, in [0, 1]; ``None`` if it was not seen.
        rows: ``(B, N)`` which tokens are a sample's own and do not only fill up its batch; ``None`` if all are.
    """

    age: Tensor
    grid: tuple[int, ...]
    influence: Tensor | None = None
    control: Tensor | None = None
    rows: Tensor | None = None


@register("toca")
@dataclass(frozen=True)
class ToCa(Reuse, Extra):
    r"""Repeat a module's newest output, but compute a fraction of its tokens: those with the highest scores.

    .. math:: S_i = a \lambda_i + c H_i + s n_i, \qquad S_i + b \cdot [i \text{ is the highest of its cell}]

    with influence :math:`\lambda_i` (column sum of the self-attention, 1 on average), control :math:`H_i` (entropy of
    the cross-attention, as a share of the highest possible) and age :math:`n_i` (forecast steps since the token was
    computed). Computed tokens take the place of the remembered ones. Belongs with ``span="modules"``.

    Args:
        fraction: Share of a module's tokens that are computed, in [0, 1]. With 0 this is reuse, with 1 the untouched
            model. Default 0.1.
        influence: Weight a, at least 0. Default 1.
        control: Weight c, at least 0. Default 1.
        staleness: Weight s, at least 0. Default 0.25.
        spread: Weight b, at least 0. Default 0.4.
        cell: Side of a cell in tokens, at least 1. Default 4.

    Returns:
        ``(K,)`` weights.

    Raises:
        InvalidOption: If an option is out of range.

    Example:
        >>> tokens = Tokens(age=torch.zeros(1, 4), grid=(2, 2), influence=torch.tensor([[0.5, 2.0, 0.9, 0.6]]))
        >>> ToCa(fraction=0.5).choose(tokens).tolist()
        [[1, 2]]

    Note:
        Tokens are computed in modules that treat each by itself: feed-forward networks, and attention to a text.
        Attention among the tokens is repeated whole, since every output depends on every token. Scores are taken from
        the queries and keys that fused attention is given at computed steps, column sums over at most 256 of the
        queries; where an attention is not seen (compiled blocks, kernels called directly, tokens split over processes)
        age and spread decide. Equal scores go to tokens spread evenly. Every sample and every branch has tokens of its
        own, as many as it has alone, whatever fills up its batch. The fraction is the same in all blocks and steps,
        which the paper lets vary a little. A count of computed steps does not show what forecast steps compute. Models
        without feed-forward networks over tokens, such as U-Nets, are refused.

    Reference:
        Zou et al., "Accelerating Diffusion Transformers with Token-wise Feature Caching", arXiv:2410.05317. The same
        authors report later (arXiv:2412.18911) that tokens drawn at random serve as well.
    """

    fraction: float = 0.1
    influence: float = 1.0
    control: float = 1.0
    staleness: float = 0.25
    spread: float = 0.4
    cell: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.fraction <= 1, "fraction", self.fraction, "0 to 1")
        check(self.cell >= 1, "cell", self.cell, "1 or more")
        for name in ("influence", "control", "staleness", "spread"):
            value = getattr(self, name)
            check(0 <= value < math.inf, name, value, "a finite number of 0 or more")

    @property
    def extra(self) -> Extra | None:
        """Its choice of tokens, unless it computes none."""
        return self if self.fraction > 0 else None

    def begin(self, *, alone: bool) -> Renewal:
        """See :meth:`Extra.begin`."""
        return Renewal(self, alone)

    def choose(self, tokens: Tokens) -> Tensor:
        """Return which tokens of a module are computed at a forecast step, ``(B, count)``.

        Args:
            tokens: What is known of them.
        """
        count = math.ceil(self.fraction * tokens.age.shape[1] - 1e-9)
        order: Tensor = self._scores(tokens).argsort(stable=True, dim=1, descending=True)
        if tokens.rows is None:
            return order[:, :count].sort(1).values
        # As many as of the sample alone; the rest of an equal number for all are taken from what fills up.
        sizes, places = tokens.rows.sum(1, keepdim=True), torch.arange(count, device=order.device)
        share = (self.fraction * precise(sizes) - 1e-9).ceil().long()
        return order.gather(1, torch.where(places < share, places, sizes + places - share)).sort(1).values

    def _scores(self, tokens: Tokens) -> Tensor:
        size, device = tokens.age.shape[1], tokens.age.device
        even = torch.arange(size, device=device, dtype=torch.float64 if device.type == "cpu" else torch.float32)
        cells = cells_of(tokens.grid, self.cell, device)
        if tokens.rows is not None:  # places as they are alone
            place = (tokens.rows.cumsum(1) - 1).clamp_min(0)
            even, cells = even[place], cells[place]
        total = self.staleness * tokens.age + 1e-4 * (even * GOLDEN % 1).to(tokens.age)
        for weight, values in ((self.influence, tokens.influence), (self.control, tokens.control)):
            if values is not None:
                total = total + weight * values
        if tokens.rows is not None:
            total = total.masked_fill(~tokens.rows, -torch.inf)
        return total + self.spread * highest_of(total, cells)


class Renewal(State):
    """Ages of the tokens of every branch's modules, and what the attentions of their blocks showed.

    Args:
        rule: Chooses tokens.
        alone: Whether no other process holds a part of the tokens; else attentions show too little.
    """

    def __init__(self, rule: ToCa, alone: bool) -> None:
        self._rule, self.is_whole = rule, rule.fraction >= 1
        self.watches = alone and not self.is_whole
        self.clear()

    def clear(self) -> None:
        """Forget everything: the run is over."""
        self._ages: dict[str, Tensor] = {}
        self._influence: dict[tuple[str, int, int], Tensor] = {}  # by branch, block and number of tokens
        self._control: dict[tuple[str, int, int], Tensor] = {}
        self.one_by_one: set[str] = set()  # modules that were seen to treat every token by itself

    @property
    def nbytes(self) -> int:
        """Bytes of what is remembered."""
        return sum(x.nbytes for kind in (self._ages, self._influence, self._control) for x in kind.values())

    def learn(self, branch: str) -> None:
        """Hear that a module was computed whole."""
        self._ages.pop(branch, None)

    def note(self, block: tuple[str, int], influence: Mapping[int, Tensor], control: Mapping[int, Tensor]) -> None:
        """Note what an attention of a branch's block showed.

        Args:
            block: The branch and the block.
            influence: ``(B, N)`` attention that the tokens of a stream of N were paid, 1 on average.
            control: ``(B, N)`` entropy of such a stream's attention to the text, in [0, 1].
        """
        self._influence.update({(*block, count): x for count, x in influence.items()})
        self._control.update({(*block, count): x for count, x in control.items()})

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
        shape = like.shape[:2]
        age = self._ages.get(key)
        if age is None or age.shape != shape:
            age = torch.zeros(shape, device=like.device)
        seen = [kind.get((*block, shape[1])) for kind in (self._influence, self._control)]
        influence, control = (x if x is not None and x.shape == shape else None for x in seen)
        tokens = self._rule.choose(Tokens(age, grid, influence, control, rows))
        self._ages[key] = (age + 1).scatter(1, tokens, 0.0)
        return tokens


def grid_of(count: int, latents: Sequence[int]) -> tuple[int, ...]:
    """Return the grid in which tokens lie, as the shape of the latents suggests; a line if it suggests none.

    Args:
        count: Number of tokens.
        latents: Shape of the model's first argument: ``(B, C, H, W)``, ``(B, C, F, H, W)``, or packed already.

    Example:
        >>> grid_of(16, (2, 4, 8, 8)), grid_of(24, (1, 4, 3, 4, 8)), grid_of(24, (1, 24, 64))
        ((4, 4), (3, 2, 4), (24,))
    """
    if len(latents) in (4, 5):
        *frames, height, width = latents[2:]
        for patch in range(1, min(height, width) + 1):
            grid = (*frames, height // patch, width // patch)
            if math.prod(grid) == count:
                return grid
    side = math.isqrt(count)
    return (side, side) if side * side == count else (count,)


def cells_of(grid: Sequence[int], side: int, device: torch.device | None = None) -> Tensor:
    """Number the cells of a grid: squares of so many tokens a side in every frame, as many in a row on a line.

    Returns:
        ``(N,)``: the cell of every token.

    Example:
        >>> cells_of((2, 4), 2).tolist(), cells_of((6,), 2).tolist()
        ([0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 0, 1, 1])
    """
    if len(grid) == 1:
        return torch.arange(grid[0], device=device) // side**2
    *frames, height, width = grid
    rows, columns = (torch.arange(size, device=device) // side for size in (height, width))
    wide, high = -(-width // side), -(-height // side)
    plane = (rows[:, None] * wide + columns).flatten()
    shifts = torch.arange(math.prod(frames), device=device) * (wide * high)
    return (shifts[:, None] + plane).flatten()


def highest_of(scores: Tensor, cells: Tensor) -> Tensor:
    """Return ``(B, N)``: 1 for the highest score of every cell, one of them where several are, and 0 for the others.

    Example:
        >>> highest_of(torch.tensor([[1.0, 3.0, 2.0, 2.0]]), torch.tensor([0, 0, 1, 1]))
        tensor([[0., 1., 1., 0.]])
    """
    rank = scores.argsort(stable=True, dim=1, descending=True).argsort(1)
    cells = cells.expand_as(rank)
    best = rank.new_full(rank.shape, rank.shape[1]).scatter_reduce(1, cells, rank, "amin")
    highest: Tensor = rank == best.gather(1, cells)
    return highest.to(scores.dtype)
