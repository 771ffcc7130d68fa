"""What every part of the papers' statements draws: which forecasters, on which plans, in runs of how many steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.worlds.runs import PLANS
from padecast.forecasters import Chebyshev, Feedback, Forecaster, Pade, Reuse, Taylor, TCPade
from padecast.policies import Growing, Interval, Plan, Policy, Spaced, Stability, plan_of

SETTINGS, STEPS, FIRST = ("digits:matched", "scenes:matched"), 20, 20_000
PUBLISHED: dict[int, Policy] = {6: Interval(every=4), 8: Interval(every=4, warmup=3), 10: Interval(every=3, warmup=3)}
WARM, ENDS = PUBLISHED[8], (6, 10)
THRESHOLDS = (0.7, 1.0, 1.3, 1.6, 1.9)
LENGTHS = (10, 15, 20, 50)
EVERY = (2, 3, 4, 6)
FORECASTERS: dict[str, Forecaster] = {
    "taylorseer order 1": Taylor(1),
    "taylorseer order 2": Taylor(2),
    "Padé [1/1]": Pade(),
    "linear with feedback": Feedback(),
    "tc-pade": TCPade(),
}
PARTIAL = {
    "digits": {"front": "front half, back computed", "back": "back half, front computed"},
    "scenes": {"double": "double-stream blocks, single computed", "single": "single-stream blocks, double computed"},
}
"""Spans beside which blocks are computed at forecast steps too: half of them, or those of the other kind."""


@dataclass(frozen=True)
class Row:
    """A row of a part: forecaster and policy in a run of so many steps, or the plain sampler if there are none.

    Args:
        name: For tables.
        at: What is varied: computed steps, a threshold, the length of the run, or an interval.
        plan: ``"published"``, a paper's own or an even one; or ``"dense"`` at the start.
        policy: When to compute.
        forecaster: With which weights to forecast.
        span: What is forecast.
        steps: Steps of the sampler.
        of: Steps of the uncached run that it is compared with.
    """

    name: str
    at: float
    plan: str = "published"
    policy: Policy | None = None
    forecaster: Forecaster | None = None
    span: str = "full"
    steps: int = STEPS
    of: int = STEPS

    @property
    def recipe(self) -> str:
        """What is drawn, whatever it is called."""
        parts = f"{self.policy}; {self.forecaster}; span {self.span}; " if self.policy else ""
        return f"{parts}{self.steps} steps"


def put(
    name: str,
    at: float,
    policy: Policy,
    forecaster: Forecaster,
    *,
    plan: str = "published",
    span: str = "full",
    steps: int = STEPS,
) -> Row:
    """Return a row whose run and uncached run have as many steps."""
    return Row(name, at, plan, policy, forecaster, span, steps, steps)


def fewer(at: float, steps: int, of: int = STEPS) -> Row:
    """Return the sampler with fewer steps."""
    return Row("fewer-steps", at, steps=steps, of=of)


def spread(steps: int, computed: int) -> Plan:
    """Spread computed steps evenly, the first and the last among them.

    >>> spread(9, 3).steps
    'C...C...C'
    """
    return Plan.at({round(k * (steps - 1) / (computed - 1)) for k in range(computed)}, steps)


def crowd(steps: int, computed: int) -> Policy:
    """Return a plan that is dense at the start: the worlds' own at 20 steps, else that of the rule.

    >>> crowd(20, 6).steps
    'CCC.C....C.........C'
    """
    if steps == STEPS and computed in PLANS:
        return Plan.at(PLANS[computed], steps)
    return Spaced(every=(steps - 1) / (computed - 1))


def plans() -> Iterator[tuple[str, int, Policy]]:
    """Return plans of 20 steps, with how they are called and how many steps they compute."""
    for computed, published in PUBLISHED.items():
        yield "published", computed, published
        yield "dense", computed, crowd(STEPS, computed)


def list_rational(_model: str) -> list[Row]:
    """Padé and Taylor on equal plans; the printed predictor on the published ones alone."""
    rows = [fewer(computed, computed) for computed in PUBLISHED]
    for name, forecaster in FORECASTERS.items():
        rows += [put(name, computed, policy, forecaster, plan=plan) for plan, computed, policy in plans()]
    printed = TCPade(form="published")
    return rows + [put("tc-pade as printed", computed, policy, printed) for computed, policy in PUBLISHED.items()]


def list_spans(model: str) -> list[Row]:
    """One forecaster over every span, at 6 and at 10 computed."""
    spans = {"full": "whole stack", "modules": "each module by itself", **PARTIAL[model]}
    return [
        put(name, computed, policy, TCPade(), plan=plan, span=span)
        for span, name in spans.items()
        for plan, computed, policy in plans()
        if computed in ENDS
    ]


def list_threshold(_model: str) -> list[Row]:
    """TC-Padé's rule at several thresholds, lowest first."""
    return [put("tc-pade-fast", threshold, Stability(threshold), TCPade()) for threshold in THRESHOLDS]


def list_steps(_model: str) -> list[Row]:
    """TaylorSeer as published in short and long runs; and on as many steps, dense at the start."""
    rows = []
    for length in LENGTHS:
        computed = plan_of(WARM, length).count("C")
        rows += [put(f"taylorseer order {n}", length, WARM, Taylor(n), steps=length) for n in (1, 2)]
        rows.append(put("tc-pade, even", length, spread(length, computed), TCPade(), steps=length))
        dense = crowd(length, computed)
        rows.append(put("taylorseer order 1", length, dense, Taylor(1), plan="dense", steps=length))
        rows += [fewer(length, computed, length), Row("uncached", length, steps=length, of=length)]
    return rows


def list_fifty(_model: str) -> list[Row]:
    """Spectrum and TaylorSeer at 14 and 10 computed of 50 steps, on their own plans and on the same dense one."""
    rows = []
    for computed, growing, every in ((14, Growing(), 5), (10, Growing(growth=3.0), 8)):
        spectrum, pure, warm = Chebyshev(blend=0.5), Chebyshev(), Interval(every=every, warmup=3)
        for plan, windows, interval in (("published", growing, warm), ("dense", *[crowd(50, computed)] * 2)):
            rows.append(put("spectrum", computed, windows, spectrum, plan=plan, steps=50))
            if plan == "published":
                rows.append(put("spectrum, pure", computed, windows, pure, steps=50))
            for n in (1, 2):
                rows.append(put(f"taylorseer order {n}", computed, interval, Taylor(n), plan=plan, steps=50))
        rows.append(fewer(computed, computed, 50))
    return rows


def list_intervals(_model: str) -> list[Row]:
    """Forecasters on even plans."""
    parts = {
        "fora": Reuse(),
        "taylorseer order 1": Taylor(1),
        "spectrum's forecaster": Chebyshev(blend=0.5),
        "tc-pade": TCPade(),
    }
    return [put(name, every, Interval(every=every), part) for name, part in parts.items() for every in EVERY]


ROWS: dict[str, Callable[[str], list[Row]]] = {
    "rational": list_rational,
    "spans": list_spans,
    "threshold": list_threshold,
    "steps": list_steps,
    "fifty": list_fifty,
    "intervals": list_intervals,
}
SEEDS = {"predict": 16, "rational": 64, "spans": 64, "threshold": 64, "steps": 32, "fifty": 32, "intervals": 32}
"""How many seeds make a verdict of a part more than provisional: those that draw long runs have fewer."""
