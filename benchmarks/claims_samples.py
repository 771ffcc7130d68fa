"""A batch of samples of a demo model: every way of drawing it drawn once, and its recorded features forecast."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from claims_ways import THRESHOLDS, Way
from common import SETTINGS, captioned, task
from torch import Tensor

from padecast import lab, targets
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.calibration.statistic import gram_sum
from padecast.forecasters import Forecaster, Lagrange, Reuse, TCPade
from padecast.hooks.stack import stack_of
from padecast.lab.scores import Judged, Score, digits, scenes
from padecast.methods import Method
from padecast.policies import Stability

GAPS = (1, 2, 3, 4)
TEACHERS: dict[str, Forecaster] = {"reuse": Reuse(), "linear": Lagrange(1), "tc-pade": TCPade(feedback=0.0)}


@functools.cache
def loaded(setting: str) -> lab.Task:
    """Return what is drawn in a setting of digits, or by a model that draws captions: of unseen combinations."""
    return task(setting) if setting in SETTINGS else captioned(setting, 20, held_out=True)


@functools.cache
def judge(setting: str) -> Score:
    """Return what tells of a sample whether it shows what was asked for."""
    made = {"scenes": scenes}.get(setting, digits)()
    return next(score for score in made.values() if isinstance(score, Judged))


class Samples:
    """A batch of samples in one setting; every way of drawing them is drawn once."""

    def __init__(self, setting: str, seeds: Sequence[int]) -> None:
        self.setting, self.seeds = setting, tuple(seeds)
        self.kept: dict[tuple[Any, ...], lab.Drawn] = {}
        self.features: tuple[Tensor, Tensor] | None = None
        self.margins: list[float] = []

    def drawn(self, one: Way) -> lab.Drawn:
        """Draw, or return what was drawn."""
        if one.key not in self.kept:
            self.kept[one.key] = self._known(one) or self._draw(one)
        return self.kept[one.key]

    def shown(self, drawn: lab.Drawn) -> list[float]:
        """Say of every sample whether it shows what was asked for: 1 or 0."""
        asked = loaded(self.setting).asked(self.seeds)
        return [float(value) for value in judge(self.setting).rows(drawn.images, drawn.images, asked)]

    def _draw(self, one: Way) -> lab.Drawn:
        work = dataclasses.replace(
            loaded(self.setting), seeds=self.seeds, batch=len(self.seeds), steps=one.steps, development=()
        )
        entry = lab.UNCACHED if one.method is None else lab.Entry.of(self._watched(one.method))
        if one.method is None and one.steps == 20:
            with recorded(work.pipe) as record:
                drawn = lab.draw(work, entry, self.seeds)
            self.features = record()
        else:
            drawn = lab.draw(work, entry, self.seeds)
        return dataclasses.replace(drawn, path=())

    def _watched(self, made: Method) -> Method:
        if not isinstance(made.policy, Stability):
            return made
        self.margins.clear()
        return dataclasses.replace(made, policy=Watched(made.policy.threshold, seen=self.margins))

    def _known(self, one: Way) -> lab.Drawn | None:
        """Return the run at the threshold before, if no decision of it lies between the two."""
        if one.method is None or not isinstance(one.method.policy, Stability) or not self.margins:
            return None
        before = max((t for t in THRESHOLDS if t < one.at), default=None)
        if before is None or any(before <= seen < one.at for seen in self.margins):
            return None
        return self.kept.get((one.steps, Stability(before), one.method.forecaster, one.method.span))


@dataclass(frozen=True)
class Watched(Stability):
    """The stability rule, writing down the stability of the least stable sample whenever it is asked for."""

    seen: Any = None

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Stability.computes`."""
        place = at.index - trace.steps[0].at.index
        if place % self.every and len(geometry) >= 3 and not at.is_last:
            self.seen.append(float(geometry.stability().min()))
        return super().computes(at, trace, geometry)


@contextmanager
def recorded(pipe: Any) -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
    """Record what enters and what leaves the stack in its main stream at every step, each ``(steps, rows, size)``."""
    target = targets.find(pipe.transformer)
    parts, last = stack_of(pipe.transformer, target, "full").parts, list(target.blocks.values())[-1]
    entries, outputs = list[Tensor](), list[Tensor]()

    def enter(_block: Any, args: Any, kwargs: dict[str, Any]) -> None:
        entries.append((args[0] if args else kwargs["hidden_states"]).detach().flatten(1).cpu())

    def leave(_block: Any, _args: Any, output: Any) -> None:
        main = output if isinstance(output, Tensor) else output[last.names.index(target.streams("full")[0])]
        outputs.append(main.detach().flatten(1).cpu())

    hooks = [parts[0].register_forward_pre_hook(enter, with_kwargs=True), parts[-1].register_forward_hook(leave)]
    try:
        yield lambda: (torch.stack(entries), torch.stack(outputs))
    finally:
        for hook in hooks:
            hook.remove()


def forecasts(features: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Forecast the recorded features from three earlier ones, the gap apart and the gap ahead.

    Both errors are those of the stack's output, over the norm of the true residual of the step: what is known of the
    step is its input, to which a forecast residual is added; a forecast output stands by itself. Means over rows,
    which are samples and conditionings.
    """
    entries, outputs = features
    residuals = outputs - entries
    total = len(outputs)
    errors = {
        f"{kind}, {name}, {gap}": [missed(forecaster, kept, residuals, target, gap) for target in range(3 * gap, total)]
        for kind, kept in (("residual", residuals), ("output", outputs))
        for name, forecaster in TEACHERS.items()
        for gap in GAPS
    }
    grams = {k: gram_sum(kept.transpose(0, 1)).tolist() for k, kept in (("residuals", residuals), ("outputs", outputs))}
    beside = {
        f"{name} over residual": (kept.norm(dim=2) / residuals.norm(dim=2)).mean(1).tolist()
        for name, kept in (("input", entries), ("output", outputs))
    }
    return {"errors": errors, "grams": grams, **beside}


def missed(forecaster: Forecaster, kept: Tensor, residuals: Tensor, target: int, gap: int) -> float:
    """Return the mean relative error of one forecast from the three steps before it on an even plan."""
    places = [target - 3 * gap, target - 2 * gap, target - gap]
    known = kept[places]
    weights = forecaster.weights(Geometry.of(known, places), Position.at(target, len(kept))).to(known)
    newest_first = known.flip(0)[: weights.shape[-1]]
    forecast = torch.einsum("bk,kbd->bd", weights.expand(known.shape[1], -1)[:, : len(newest_first)], newest_first)
    gone = (forecast - kept[target]).norm(dim=1)
    return float((gone / residuals[target].norm(dim=1)).mean())
