"""A watched pipeline under a library, and what is said of a result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchmarks.others.libraries import Library, Off, switch_on
from benchmarks.others.pipelines import STEPS, draw, flux
from padecast.lab.peers.tally import Tally


class Rig:
    """A fresh pipeline, watched, with a library switched on or with none."""

    def __init__(self, library: Library | None, make: Callable[..., Any] = flux, *, always: bool = False) -> None:
        self.library, self.pipe = library, make()
        self.watch, self.outputs = Tally(self.pipe), list[Tensor]()
        self._hook = self.pipe.transformer.register_forward_hook(self._keep)
        self.off: Off = lambda: None
        if library is not None:
            self.on(always=always)

    def on(self, *, always: bool = False) -> None:
        """Switch the library on."""
        assert self.library is not None
        heun = "Heun" in type(self.pipe.scheduler).__name__
        written = self.library.always if always else self.library.use
        self.off = switch_on(self.pipe, written, 2 * STEPS - 1 if heun else STEPS)

    def draw(self, **options: Any) -> Tensor:
        """Draw an image, and note anew what was computed."""
        self.watch.ran.clear()
        self.outputs.clear()
        outer = self.library is not None and self.library.outer
        context = self.pipe.transformer.cache_context("the only one") if outer else contextlib.nullcontext()
        with context:
            return draw(self.pipe, **options)

    @property
    def plan(self) -> str:
        """One letter for each call of the model: C if the last block's attention ran, a dot if not."""
        return self.watch.plan(len(self.watch.ran))

    def remove(self) -> None:
        """Stop watching."""
        self.watch.remove()
        self._hook.remove()

    def _keep(self, _module: Any, _args: Any, output: Any) -> None:
        self.outputs.append(output[0].clone())


def distance(image: Tensor, other: Tensor) -> float:
    """Return the largest absolute difference."""
    return float((image - other).abs().max())


@dataclass
class Finding:
    """What came of a scenario with a library.

    Args:
        verdict: One of those in the docstring of benchmarks.others.measure.
        measured: What was measured, in a sentence.
        difference: The largest absolute difference to the right answer.
        scale: The largest absolute value of the right answer.
        plan: Which calls of the model were computed.
    """

    verdict: str
    measured: str
    difference: float | None = None
    scale: float | None = None
    plan: str | None = None


def judge(difference: float, expected: Tensor, plan: str, measured: str, allowed: float = 0.0) -> Finding:
    """Judge a difference; ``allowed`` is a share of the largest value of the right answer."""
    scale = float(expected.abs().max())
    if difference > allowed * scale or difference != difference:
        verdict = "wrong image"
    else:
        verdict = "right" if "." in plan else "computes everything"
    return Finding(verdict, f"{measured}; plan {plan}", difference, scale, plan)


def tell_failure(error: BaseException) -> Finding:
    """Return what an exception says, in a line."""
    lines = str(error).strip().splitlines() or [""]
    return Finding("exception", f"{type(error).__name__}: {lines[0][:200]}")


def worst(findings: list[Finding]) -> Finding:
    """Return the finding that weighs the most."""
    order = ("exception", "wrong image", "by design", "left behind", "computes everything", "right")
    return min(findings, key=lambda f: (order.index(f.verdict), -(f.difference or 0.0)))
