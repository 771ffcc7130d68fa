"""What every part of the papers' statements draws: which methods, on which plans, in runs of how many steps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from methods import FORECASTERS, PLANS

from padecast import forecasters, policies
from padecast.forecasters import Chebyshev, Forecaster, Reuse, Taylor, TCPade
from padecast.methods import Method, method
from padecast.policies import Interval, Plan, Policy, Stability

SPANS = {
    "full": "whole stack",
    "rest": "all but the first block",
    "halves": "each half by itself",
    "modules": "each module by itself",
}
# What is computed at every step beside the span: half of the blocks, or those of the other kind where there are two.
HALVES = {"front": "front half, back computed", "back": "back half, front computed"}
PARTIAL = {
    "hard": HALVES,
    "easy": HALVES,
    "scenes": {"double": "double-stream blocks, single computed", "single": "single-stream blocks, double computed"},
}
THRESHOLDS = (0.0, 0.7, 1.0, 1.3, 1.5, 1.7, 1.85, 1.95)
LENGTHS = (10, 15, 20, 30, 50)
WARM = Interval(every=4, warmup=3)
EVERY = (2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Way:
    """One row of a part: a method in a run of so many steps, or the plain sampler if there is none.

    Args:
        name: For tables.
        at: What is varied: computed steps, a threshold, the length of the run, or an interval.
        method: What is attached.
        steps: Steps of the sampler.
        of: Steps of the uncached run that it is compared with.
    """

    name: str
    at: float
    method: Method | None = None
    steps: int = 20
    of: int = 20

    @property
    def key(self) -> tuple[Any, ...]:
        """What is drawn, whatever it is called."""
        made = self.method
        return (self.steps, *(() if made is None else (made.policy, made.forecaster, made.span)))


def way(name: str, at: float, policy: Policy, forecaster: Forecaster, *, span: str = "full", steps: int = 20) -> Way:
    """Put a row together."""
    return Way(name, at, Method(name, policy, forecaster, "a row", span=span), steps, steps)


def predict(_setting: str) -> list[Way]:
    """Draw nothing but the uncached run, whose features are recorded."""
    return []


def rational(_setting: str) -> list[Way]:
    """Forecasters on the same three plans, and the sampler with as many steps."""
    made = {name: forecasters.REGISTRY.make(written) for name, written in FORECASTERS.items()}
    found = [Way("fewer-steps", nfe, steps=nfe, of=20) for nfe in PLANS]
    return found + [way(name, nfe, plan, part) for name, part in made.items() for nfe, plan in PLANS.items()]


def spans(setting: str) -> list[Way]:
    """One method on three plans, over every span of a demo model."""
    known = SPANS | PARTIAL[setting]
    return [way(name, nfe, plan, TCPade(), span=span) for span, name in known.items() for nfe, plan in PLANS.items()]


def threshold(_setting: str) -> list[Way]:
    """TC-Padé's rule at several thresholds, lowest first."""
    return [way("tc-pade-fast", theta, Stability(theta), TCPade()) for theta in THRESHOLDS]


def fifty(_setting: str) -> list[Way]:
    """Spectrum's budgets: its own growing windows against TaylorSeer's warm-up and interval."""
    found = []
    for nfe, spectrum, every in ((14, "spectrum", 5), (10, "spectrum-fast", 8)):
        for name, blend in (("spectrum", "0.5"), ("spectrum, pure", "1.0")):
            made = method(f"{spectrum}:blend={blend}")
            found.append(way(name, nfe, made.policy, made.forecaster, steps=50))
        plan = Interval(every=every, warmup=3)
        found += [way(f"taylorseer order {n}", nfe, plan, Taylor(n), steps=50) for n in (1, 2)]
        found.append(way("tc-pade, even", nfe, even(50, nfe), TCPade(), steps=50))
        found.append(Way("fewer-steps", nfe, steps=nfe, of=50))
    return found


def steps(_setting: str) -> list[Way]:
    """TaylorSeer as published in short and long runs; others spread as many computed steps evenly."""
    found = []
    for length in LENGTHS:
        nfe = policies.plan_of(WARM, length).count("C")
        found += [way(f"taylorseer order {n}", length, WARM, Taylor(n), steps=length) for n in (1, 2)]
        found.append(way("tc-pade, even", length, even(length, nfe), TCPade(), steps=length))
        found.append(way("fora, even", length, even(length, nfe), Reuse(), steps=length))
        found.append(Way("fewer-steps", length, steps=nfe, of=length))
        found.append(Way("uncached", length, steps=length, of=length))
    return found


def intervals(_setting: str) -> list[Way]:
    """Forecasters on even plans."""
    parts: dict[str, Forecaster] = {
        "fora": Reuse(),
        "taylorseer order 1": Taylor(1),
        "spectrum's forecaster": Chebyshev(blend=0.5),
        "tc-pade": TCPade(),
    }
    return [way(name, n, Interval(every=n), part) for name, part in parts.items() for n in EVERY]


def even(total: int, computed: int) -> Plan:
    """Spread computed steps evenly, the first and the last among them.

    >>> even(9, 3).steps
    'C...C...C'
    """
    chosen = {round(k * (total - 1) / (computed - 1)) for k in range(computed)}
    return Plan("".join("C" if step in chosen else "." for step in range(total)))


PARTS: dict[str, Callable[[str], list[Way]]] = {
    "predict": predict,
    "rational": rational,
    "threshold": threshold,
    "spans": spans,
    "intervals": intervals,
    "steps": steps,
    "fifty": fifty,
}
