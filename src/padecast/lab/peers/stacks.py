"""Caches of diffusers that leave out whole stacks of blocks."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import nn

from padecast._errors import UnsupportedModel
from padecast.lab.peers.attach import switch_on
from padecast.lab.peers.base import Peer, register
from padecast.lab.peers.cacheable import Cache, find_class
from padecast.policies.knob import Knob

SEEN_BY_SEA = ("WanTransformer3DModel", "Cosmos3OmniTransformer")


@register("diffusers.first-block")
@dataclass(frozen=True)
class FirstBlock(Cache):
    """FirstBlockCache: compute if the first block's residual has changed by more than ``threshold``.

    Args:
        threshold: Relative mean absolute difference. Default 0.05, diffusers' own.

    Example:
        >>> FirstBlock(threshold=0.2).settings()
        'threshold=0.2'
    """

    threshold: float = 0.05
    knob: ClassVar[Knob | None] = Knob("threshold", 1e-4, 10.0, rising=False, logarithmic=True)
    by_context: ClassVar[bool] = True

    def configuration(self, pipe: Any, model: nn.Module, steps: int) -> Any:
        """Return a ``FirstBlockCacheConfig``."""
        return find_class("FirstBlockCacheConfig")(threshold=self.threshold)


@register("diffusers.magcache")
@dataclass(frozen=True)
class MagCache(Cache):
    """MagCache: repeat the residual until the error that its magnitudes promise exceeds ``threshold``.

    Args:
        threshold: Of the accumulated error. Default 0.06.
        longest: ``max_skip_steps``. Default 3.
        retention: Share of the first steps that are all computed. Default 0.2.
        ratios: Magnitudes of this model and schedule; by its own calibration on the seeds kept for tuning.
    """

    threshold: float = 0.06
    longest: int = 3
    retention: float = 0.2
    ratios: tuple[float, ...] = ()
    knob: ClassVar[Knob | None] = Knob("threshold", 1e-4, 10.0, rising=False, logarithmic=True)

    def configuration(self, pipe: Any, model: nn.Module, steps: int) -> Any:
        """Return a ``MagCacheConfig``; one that calibrates if there are no ratios."""
        make = find_class("MagCacheConfig")
        if not self.ratios:
            return make(calibrate=True, num_inference_steps=steps)
        return make(
            threshold=self.threshold,
            max_skip_steps=self.longest,
            retention_ratio=self.retention,
            num_inference_steps=steps,
            mag_ratios=list(self.ratios),
        )

    def prepared(self, pipe: Any, steps: int, run: Callable[[], int]) -> Peer:
        """Return it with the ratios that its calibration prints, the mean over branches."""
        if self.ratios:
            return self
        with contextlib.redirect_stdout(io.StringIO()) as heard, switch_on(pipe, self, steps):
            run()
        lists = [ast.literal_eval(line) for line in heard.getvalue().splitlines() if line.startswith("[1.0")]
        if not lists or any(len(ratios) != steps for ratios in lists):
            raise UnsupportedModel(
                f"MagCache's calibration printed {len(lists)} lists of ratios, not one of {steps} for every branch.\n"
                "Usual cause: a sampler that calls the model more than once a step."
            )
        return dataclasses.replace(self, ratios=tuple(sum(row) / len(row) for row in zip(*lists, strict=True)))

    def rooms(self, steps: int, computed: int) -> Iterable[dict[str, Any]]:
        """Longer skips, and a shorter beginning, where three in a row cannot do it."""
        shares = [share for share in (self.retention, 0.1, 1 / steps) if share * steps < computed]
        lengths = range(self.longest, steps + 1)
        possible = ((s, n) for s in shares for n in lengths if _least(steps, round(s * steps), n) <= computed)
        return [{"retention": s, "longest": n} for s, n in possible][:2] or [{"retention": 1 / steps, "longest": steps}]


@register("diffusers.seacache")
@dataclass(frozen=True)
class SeaCache(Cache):
    """SeaCache: extrapolate the residual until the filtered latents have changed by ``threshold``.

    Args:
        threshold: Accumulated relative change. Default 0.25.
        longest: ``max_consecutive_cached``. Default 2.
        warmup: ``retention_steps``, computed in any case. Default 1.
    """

    threshold: float = 0.25
    longest: int = 2
    warmup: int = 1
    knob: ClassVar[Knob | None] = Knob("threshold", 1e-4, 100.0, rising=False, logarithmic=True)
    by_context: ClassVar[bool] = True

    def configuration(self, pipe: Any, model: nn.Module, steps: int) -> Any:
        """Return a ``SeaCacheConfig``, for the models whose latents it can read."""
        if type(model).__name__ not in SEEN_BY_SEA:
            raise UnsupportedModel(
                f"SeaCache reads the latents of {' and '.join(SEEN_BY_SEA)} alone, and this is a "
                f"{type(model).__name__}: it would compute every step."
            )
        return find_class("SeaCacheConfig")(
            threshold=self.threshold, max_consecutive_cached=self.longest, retention_steps=self.warmup
        )

    def rooms(self, steps: int, computed: int) -> Iterable[dict[str, Any]]:
        """Longer skips where two in a row cannot do it."""
        return [{"longest": n} for n in range(self.longest, steps) if 1 + _least(steps - 1, 1, n) <= computed][:2]


def _least(steps: int, warmup: int, longest: int) -> int:
    """Fewest computed steps, ``warmup`` first and then one after every ``longest``."""
    return warmup + math.floor((steps - warmup) / (longest + 1))
