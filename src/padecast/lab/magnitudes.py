"""How the magnitude of residuals goes along a run: what MagCache's rule is calibrated with."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption
from padecast._steps import Position
from padecast.forecasters import Reuse
from padecast.handles.attach import around
from padecast.hooks.quiet import quiet
from padecast.lab.calls import Call
from padecast.memory.arithmetic import Rows, Streams
from padecast.policies import Always
from padecast.session.observer import Observer
from padecast.session.session import Session


def magnitudes(
    pipe: Any, call: Call, seeds: Sequence[int] = (0,), span: str = "full", **arguments: Any
) -> tuple[float, ...]:
    r"""Return the ratios of successive residuals' magnitudes, for ``policies.Magnitude(ratios=...)``.

    .. math:: \gamma_s = \mathrm{mean}_\text{tokens} \frac{|r_s|}{|r_{s-1}|}, \qquad \gamma_0 = 1

    Args:
        pipe: A diffusers pipeline, uncached.
        call: Draws images for seeds with it.
        seeds: Samples over which the ratios are averaged, with all branches. Default one, as published.
        span: Which part of the model. Default all of its blocks.
        arguments: Handed to the call, such as ``num_inference_steps=20``.

    Returns:
        One ratio for every step of the run.

    Raises:
        InvalidOption: If not every step was seen.

    Reference:
        Ma et al., "MagCache: Fast Video Generation with Magnitude-Aware Cache", arXiv:2506.09045.
    """
    heard: list[_Magnitudes] = [_Magnitudes()]

    def begin(total: int) -> Session:
        heard.append(_Magnitudes())
        return Session(Always(), Reuse(), total, measure=False, observers=heard[-1:])

    with quiet(pipe), around(pipe, span, begin):
        call(pipe, tuple(seeds), **arguments)
    ratios = heard[-1].ratios
    steps = max(ratios, default=0) + 1
    if sorted(ratios) != list(range(1, steps)):
        raise InvalidOption(
            f"ratios are known of steps {sorted(ratios)}, not of every step after the first.\n"
            "Usual cause: a run from the middle of the schedule (strength), or one of a single step."
        )
    return (1.0, *(fmean(ratios[step]) for step in range(1, steps)))


class _Magnitudes(Observer):
    """Compares every residual with the one before, token by token."""

    def __init__(self) -> None:
        self.ratios: dict[int, list[float]] = {}
        self._kept: dict[str, tuple[int, Tensor]] = {}

    def hear(self, branch: str, at: Position, inputs: Streams, output: Streams, rows: Rows | None = None) -> None:
        """Note how a residual's tokens have grown."""
        now = torch.linalg.vector_norm((output[0] - inputs[0]).detach().float(), dim=-1)
        before = self._kept.get(branch)
        if before is not None and before[0] == at.index - 1:
            ratio = now / before[1].clamp_min(torch.finfo(torch.float32).tiny)
            counted = ratio if rows is None or rows[0] is None else ratio[rows[0]]
            self.ratios.setdefault(at.index, []).append(float(counted.mean()))
        self._kept[branch] = at.index, now
