"""The caches that are put on a model, each set to compute a number of steps, and what they then compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import diffusers
from torch import Tensor, nn

import padecast
from cost.models import Case
from padecast.methods import Method, method
from padecast.policies import Interval

Off = Callable[[], None]


@dataclass
class Way:
    """A cache: its name, its settings in words, and what switches it on and returns what switches it off."""

    name: str
    settings: str
    on: Callable[[Case], Off]
    notes: list[str] = field(default_factory=list)


class Watch:
    """Which calls of a model ran the attention of its last block: ``C`` for those, a dot for the others."""

    def __init__(self, case: Case) -> None:
        last = next(part for name, part in case.blocks[-1].named_modules() if name.endswith("to_q"))
        self.ran: list[bool] = []
        self._hooks = [case.model.register_forward_pre_hook(lambda *_: self.ran.append(False))]
        self._hooks.append(last.register_forward_hook(self._count))

    def _count(self, *_: Any) -> None:
        self.ran[-1] = True

    @property
    def plan(self) -> str:
        return "".join("C" if ran else "." for ran in self.ran)

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()


def planned(case: Case, way: Way) -> str:
    """Run a case once with a cache, and return what was computed."""
    off, watch = way.on(case), Watch(case)
    try:
        case()
    finally:
        watch.remove()
        off()
    return watch.plan


def ours(chosen: Method, name: str = "", measure: bool = False) -> Way:
    def on(case: Case) -> Off:
        return padecast.enable(case.target, chosen, steps=case.steps, measure=measure).disable

    return Way(f"padecast, {name or chosen.name}", f"{chosen.policy}, {chosen.forecaster}", on)


def even(name: str, every: int, warmup: int = 0, measure: bool = False) -> Way:
    """A method on an even plan; ``measure`` is on by default in padecast, for the report."""
    policy, shown = Interval(every=every, warmup=warmup), f"{name}, report measured" if measure else name
    return ours(Method(name, policy, method(name).forecaster, ""), shown, measure)


def nothing(plan: str) -> Way:
    """The bound: blocks hand their input on at the steps that the plan leaves out, and nothing is kept or added."""

    def on(case: Case) -> Off:
        calls = [-1]

        def enter(*_: Any) -> None:
            calls[0] = (calls[0] + 1) % len(plan)

        hook = case.model.register_forward_pre_hook(enter)
        for block in case.blocks:
            block.forward = _handing_on(block.forward, lambda: plan[calls[0]] == "C")

        def off() -> None:
            hook.remove()
            for block in case.blocks:
                del block.forward

        return off

    return Way("nothing at all (bound)", f"identity instead of blocks at the dots of {plan}", on)


def _handing_on(forward: Callable[..., Any], computes: Callable[[], bool]) -> Callable[..., Any]:
    def around(*args: Any, **kwargs: Any) -> Any:
        if computes():
            return forward(*args, **kwargs)
        given = args[0] if args else kwargs["hidden_states"]
        text = kwargs.get("encoder_hidden_states")
        return given if text is None else (text, given)

    return around


def theirs(name: str, config: Any, note: str = "") -> Way:
    def on(case: Case) -> Off:
        case.model.enable_cache(config)
        return case.model.disable_cache

    return Way(name, f"{config}", on, [note] if note else [])


def spans(total: int, nfe: int, count: Callable[[int, int], int]) -> tuple[int, int]:
    """Return the warm-up and the longest skip with which a rule comes nearest to a number of computed steps."""
    return min(product(range(1, total // 2), range(1, 8)), key=lambda p: (abs(count(*p) - nfe), abs(p[0] - 3)))


def magcache(total: int, nfe: int) -> Way:
    first, skipped = spans(total, nfe, lambda r, m: r + (total - r) // (m + 1))
    config = diffusers.MagCacheConfig(
        mag_ratios=[1.0] * total, num_inference_steps=total, max_skip_steps=skipped, retention_ratio=first / total
    )
    return theirs("MagCache", config, "ratios of 1, so that its interval decides")


def taylorseer(case: Case, nfe: int, lite: bool) -> Way:
    def count(first: int, skipped: int) -> int:
        return sum(s < first or (s - first - 1) % (skipped + 1) == 0 for s in range(case.steps))

    first, skipped = spans(case.steps, nfe, count)
    named = {"cache_identifiers": [r"blocks\.\d+\.attn[12]"]} if hasattr(case.model, "blocks") else {}
    dtype = case.model.dtype
    config = diffusers.TaylorSeerCacheConfig(
        cache_interval=skipped + 1,
        disable_cache_before_step=first,
        taylor_factors_dtype=dtype,
        **({"use_lite_mode": True} if lite else named),
    )
    note = "" if lite else "forecasts every attention; feed-forward parts run at every step"
    return theirs("TaylorSeer, lite" if lite else "TaylorSeer", config, note)


def seacache(total: int, nfe: int) -> Way:
    def plan(first: int, skipped: int) -> int:
        row, computed = 0, 0
        for step in range(total):
            row = 0 if step < first or step == total - 1 or row == skipped else row + 1
            computed += row == 0
        return computed

    first, skipped = spans(total, nfe, plan)
    config = diffusers.SeaCacheConfig(threshold=1e9, retention_steps=first, max_consecutive_cached=skipped)
    return theirs("SeaCache", config, "a threshold never reached, so that its interval decides")


def cache_dit(plan: str) -> Way:
    def on(case: Case) -> Off:
        import cache_dit as library

        config = library.DBCacheConfig(
            Fn_compute_blocks=1,
            Bn_compute_blocks=0,
            steps_computation_mask=[int(c == "C") for c in plan],
            steps_computation_policy="static",
            num_inference_steps=len(plan),
            enable_separate_cfg=False,
        )
        library.enable_cache(case.pipe, cache_config=config)
        return lambda: library.disable_cache(case.pipe)

    settings = f"DBCacheConfig(Fn_compute_blocks=1, steps_computation_mask={plan}, static, enable_separate_cfg=False)"
    return Way("cache-dit", settings, on, ["its first block runs at every step"])


def first_block(case: Case, nfe: int, tries: int = 6) -> Way:
    """FirstBlockCache with the threshold that computes so many steps, found on what its first block does uncached."""
    residuals: list[Tensor] = []
    head = case.blocks[0]
    with hooked(head, residuals):
        case()
    low, high = 0.0, 8.0
    best: tuple[int, float] | None = None
    threshold = simulated(residuals, nfe)
    for _ in range(tries):
        found = planned(case, theirs("", diffusers.FirstBlockCacheConfig(threshold=threshold))).count("C")
        if best is None or abs(found - nfe) < best[0]:
            best = (abs(found - nfe), threshold)
        if found == nfe:
            break
        low, high = (threshold, high) if found > nfe else (low, threshold)
        threshold = min((low + high) / 2, 1.1 * low) if low else 0.9 * high
    assert best is not None
    config = diffusers.FirstBlockCacheConfig(threshold=best[1])
    return theirs("FirstBlockCache", config, "its first block runs at every step")


@contextmanager
def hooked(head: nn.Module, residuals: list[Tensor]) -> Iterator[None]:
    def keep(_: Any, args: Any, kwargs: Any, output: Any) -> None:
        entry = kwargs.get("hidden_states", args[0] if args else None)
        residuals.append((output[1] if isinstance(output, tuple) else output) - entry)

    hook = head.register_forward_hook(keep, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


def simulated(residuals: list[Tensor], nfe: int) -> float:
    """Return a threshold that computes so many steps of a recorded run."""

    def computes(threshold: float) -> int:
        kept, count = residuals[0], 1
        for residual in residuals[1:]:
            if float((residual - kept).abs().mean() / kept.abs().mean()) > threshold:
                kept, count = residual, count + 1
        return count

    low, high = 1e-6, 8.0
    for _ in range(30):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if computes(middle) > nfe else (low, middle)
    return high
