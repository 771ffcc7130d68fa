"""Which attentions really ran, and what is said of a result."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from others.libraries import Library, Off
from others.pipelines import STEPS, draw, flux


class Watch:
    """Counts which attentions of a model really ran in each of its calls, and keeps what the calls returned."""

    def __init__(self, model: nn.Module) -> None:
        self.ran: list[int] = []
        self.outputs: list[Tensor] = []
        queries = [part for name, part in model.named_modules() if name.endswith("to_q")]
        self.all = len(queries)
        self._hooks = [query.register_forward_hook(self._count) for query in queries]
        self._hooks += [model.register_forward_pre_hook(self._enter), model.register_forward_hook(self._leave)]

    def _enter(self, *_: Any) -> None:
        self.ran.append(0)

    def _count(self, *_: Any) -> None:
        self.ran[-1] += 1

    def _leave(self, module: Any, args: Any, output: Any) -> None:
        self.outputs.append(output[0].clone())

    @property
    def plan(self) -> str:
        """One letter for each call of the model: C if every attention ran, a dot if fewer did."""
        return "".join("C" if ran == self.all else "." for ran in self.ran)

    @property
    def share(self) -> str:
        """Attentions that ran, of those that the model has in so many calls."""
        return f"{sum(self.ran)} of {self.all * len(self.ran)} attentions ran"

    def clear(self) -> None:
        self.ran, self.outputs = [], []

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


class Rig:
    """A fresh pipeline, watched, with a library switched on or with none."""

    def __init__(self, library: Library | None, make: Callable[..., Any] = flux, always: bool = False) -> None:
        self.library, self.pipe = library, make()
        self.watch = Watch(self.pipe.transformer)
        self.off: Off = lambda: None
        if library is not None:
            self.on(always)

    def on(self, always: bool = False) -> None:
        assert self.library is not None
        heun = "Heun" in type(self.pipe.scheduler).__name__
        switch = self.library.always if always else self.library.on
        self.off = switch(self.pipe, 2 * STEPS - 1 if heun else STEPS)

    def draw(self, **options: Any) -> Tensor:
        self.watch.clear()
        with self._context():
            return draw(self.pipe, **options)

    def _context(self) -> contextlib.AbstractContextManager[None]:
        outer = self.library is not None and self.library.outer
        return self.pipe.transformer.cache_context("the only one") if outer else contextlib.nullcontext()


def apart(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@dataclass
class Finding:
    """What came of a scenario with a library.

    Args:
        verdict: One of those in the module's docstring.
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


def judged(difference: float, expected: Tensor, watch: Watch, measured: str, allowed: float = 0.0) -> Finding:
    """Judge a difference; ``allowed`` is a share of the largest value of the right answer."""
    scale = float(expected.abs().max())
    if difference > allowed * scale or difference != difference:
        verdict = "wrong image"
    else:
        verdict = "right" if "." in watch.plan else "computes everything"
    return Finding(verdict, f"{measured}; {watch.share}", difference, scale, watch.plan)


def failed(error: BaseException) -> Finding:
    lines = str(error).strip().splitlines() or [""]
    return Finding("exception", f"{type(error).__name__}: {lines[0][:200]}")


def worst(findings: list[Finding]) -> Finding:
    order = ("exception", "wrong image", "by design", "left behind", "computes everything", "right")
    return min(findings, key=lambda f: (order.index(f.verdict), -(f.difference or 0.0)))
