"""The caches that are put on a model, each set to compute a number of steps, and what they then compute."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from benchmarks.cost.models import Case
from padecast.lab.peers import Peer, switch_on
from padecast.lab.peers.attentions import TaylorSeer, TaylorSeerLite
from padecast.lab.peers.cache_dit import DBCache
from padecast.lab.peers.stacks import FirstBlock, MagCache, SeaCache
from padecast.lab.peers.tally import Tally
from padecast.methods import Method, method
from padecast.policies import Interval

FIRST_RUNS = "its first block runs at every step"


@dataclass
class Way:
    """A cache: its name, its settings in words, and what switches it on inside a block."""

    name: str
    settings: str
    on: Callable[[Case], AbstractContextManager[Any]]
    notes: list[str] = field(default_factory=list)


def find_plan(case: Case, way: Way) -> str:
    """Run a case once with a cache, and return which calls of the model were computed."""
    with way.on(case):
        watch = Tally(case.pipe)
        try:
            case()
        finally:
            watch.remove()
    return watch.plan(len(watch.ran))


def use(rule: Method, name: str = "", *, measure: bool = False) -> Way:
    """Return padecast with a method; ``measure`` is on by default in padecast, for the report."""
    shown = f"padecast, {name or rule.name}" + (", report measured" if measure else "")
    return Way(shown, f"{rule.policy}, {rule.forecaster}", lambda case: case.accelerate(rule, measure=measure))


def use_evenly(name: str, every: int = 4, warmup: int = 3, *, measure: bool = False) -> Way:
    """Return the forecaster of a method on an even plan."""
    rule = Method(name, Interval(every=every, warmup=warmup), method(name).forecaster, "")
    return use(rule, {"linear": "lagrange"}.get(name, name), measure=measure)


def leave_out(plan: str) -> Way:
    """Return the bound: blocks hand their input on at the steps that the plan leaves out; nothing is kept or added."""

    @contextmanager
    def on(case: Case) -> Iterator[None]:
        calls = [-1]

        def count(*_: Any) -> None:
            calls[0] = (calls[0] + 1) % len(plan)

        hook = case.model.register_forward_pre_hook(count)
        for block in case.blocks:
            block.forward = _hand_on(block.forward, lambda: plan[calls[0]] == "C")
        try:
            yield
        finally:
            hook.remove()
            for block in case.blocks:
                del block.forward

    return Way("nothing at all (bound)", f"identity instead of blocks at the dots of {plan}", on)


def _hand_on(forward: Callable[..., Any], computes: Callable[[], bool]) -> Callable[..., Any]:
    def around(*args: Any, **kwargs: Any) -> Any:
        if computes():
            return forward(*args, **kwargs)
        hidden = args[0] if args else kwargs["hidden_states"]
        text = kwargs.get("encoder_hidden_states")
        return hidden if text is None else (text, hidden)

    return around


def use_peer(name: str, peer: Peer, note: str = "") -> Way:
    """Return a cache of another library."""
    return Way(name, str(peer), lambda case: switch_on(case.pipe, peer, case.steps), [note] if note else [])


def space(total: int, nfe: int, count: Callable[[int, int], int]) -> tuple[int, int]:
    """Return the warm-up and the longest skip with which a rule comes nearest to a number of computed steps."""
    return min(product(range(1, total // 2), range(1, 8)), key=lambda p: (abs(count(*p) - nfe), abs(p[0] - 3)))


def use_magcache(total: int, nfe: int) -> Way:
    """Return MagCache with magnitudes of 1."""
    first, longest = space(total, nfe, lambda first, longest: first + (total - first) // (longest + 1))
    peer = MagCache(longest=longest, retention=first / total, ratios=(1.0,) * total)
    return use_peer("MagCache", peer, "ratios of 1, so that its interval decides")


def use_taylorseer(total: int, nfe: int, *, lite: bool) -> Way:
    """Return TaylorSeer, in its lite mode or not."""
    peer = TaylorSeerLite() if lite else TaylorSeer()
    peer = dataclasses.replace(peer, **next(iter(peer.rooms(total, nfe))))
    note = "" if lite else "forecasts every attention; feed-forward parts run at every step"
    return use_peer("TaylorSeer, lite" if lite else "TaylorSeer", peer, note)


def use_seacache(total: int, nfe: int) -> Way:
    """Return SeaCache with a threshold that is never reached."""

    def count(first: int, longest: int) -> int:
        row, computed = 0, 0
        for step in range(total):
            row = 0 if step < first or step == total - 1 or row == longest else row + 1
            computed += row == 0
        return computed

    first, longest = space(total, nfe, count)
    peer = SeaCache(threshold=1e9, longest=longest, warmup=first)
    return use_peer("SeaCache", peer, "a threshold never reached, so that its interval decides")


def use_cache_dit(plan: str) -> Way:
    """Return cache-dit on a written plan."""
    return use_peer("cache-dit", DBCache(plan=plan, separate=False), FIRST_RUNS)


def use_first_block(case: Case, nfe: int, tries: int = 10) -> Way:
    """Return FirstBlockCache with the threshold that computes nearest to so many steps."""
    low, high = 1e-3, 8.0
    ways: list[tuple[int, Way]] = []
    for _ in range(tries):
        threshold = (low * high) ** 0.5
        way = use_peer("FirstBlockCache", FirstBlock(threshold), FIRST_RUNS)
        count = find_plan(case, way).count("C")
        ways.append((abs(count - nfe), way))
        if count == nfe:
            break
        low, high = (threshold, high) if count > nfe else (low, threshold)
    return min(ways, key=lambda pair: pair[0])[1]
