"""ToCa: repeat what modules returned, and compute some of their tokens."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from padecast._errors import check
from padecast._geometry import precise
from padecast.forecasters.reuse import Reuse
from padecast.forecasters.tokens import Tokens, cells_of, highest_of

GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class ToCa(Reuse):
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
        >>> ToCa(fraction=0.5).chosen(tokens).tolist()
        [[1, 2]]

    Note:
        Tokens are computed in modules that treat each by itself: feed-forward networks, and attention to a text.
        Attention among the tokens is repeated whole, since every output depends on every token. Scores are taken from
        the queries and keys that fused attention is given at computed steps, column sums over at most 256 of the
        queries; where an attention is not seen (compiled blocks, kernels called directly, tokens split over processes)
        age and spread decide. Equal scores go to tokens spread evenly. Every sample and every branch has tokens of its
        own, as many as it has alone, whatever fills up its batch. The fraction is the same in all blocks and steps,
        which the paper lets vary a little. A count of computed steps does not show what forecast steps compute.

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
    def renewed(self) -> float:
        """See :attr:`Forecaster.renewed`."""
        return self.fraction

    def chosen(self, tokens: Tokens) -> Tensor:
        """See :meth:`Forecaster.chosen`."""
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
