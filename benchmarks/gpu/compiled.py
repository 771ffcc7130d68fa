"""Compiled models under padecast: how fast they are, how often they are compiled, and whether images stay the same."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from benchmarks.cost.caches import use, use_evenly
from benchmarks.cost.models import Case
from benchmarks.cost.steps import time_run
from padecast.methods import method

Row = dict[str, Any]
METHODS = ("linear", "tc-pade", "adaptive")


def compile_blocks(model: Any, **options: Any) -> None:
    """Compile the blocks that repeat, as diffusers advises."""
    model.compile_repeated_blocks(**options)


def compile_whole(model: Any, **options: Any) -> None:
    """Compile the model in place."""
    model.compile(**options)


def measure_compiled(case: Case, compile_model: Callable[..., None], repeats: int, **options: Any) -> list[Row]:
    """Measure uncached runs and padecast's, before and after compiling.

    ``difference`` is between both, of the largest value of what is drawn: rounding alone, if all is well.

    Args:
        case: A model of its own, which stays compiled.
        compile_model: Compiles a model.
        repeats: Runs whose median is taken.
        options: For ``torch.compile``.
    """
    from torch._dynamo.utils import counters

    ways = {name: use(method(name)) if name == "adaptive" else use_evenly(name) for name in METHODS}
    eager = {"uncached": _draw(case)}
    plain = _time(case, repeats)
    for name, way in ways.items():
        with way.on(case):
            eager[name] = _draw(case)
    torch._dynamo.reset()
    compile_model(case.model, **options)
    rows = [_measure(case, "uncached", eager["uncached"], repeats) | {"eager_seconds": plain}]
    for name, way in ways.items():
        counters.clear()
        torch._dynamo.reset()  # every handle is compiled anew, and torch gives up after a few
        with way.on(case) as run:
            row = _measure(case, name, eager[name], repeats)
            row |= {"plan": run.report.plan, "notes": dict(run.report.notes)}
        row["graphs"] = counters["stats"]["unique_graphs"]
        row["breaks"] = {str(why).splitlines()[0][:160]: count for why, count in counters["graph_break"].items()}
        row["speedup"] = rows[0]["seconds"] / row["seconds"]
        row["ideal"] = len(row["plan"]) / row["plan"].count("C")
        rows.append(row)
    torch._dynamo.reset()
    return rows


def _measure(case: Case, name: str, expected: torch.Tensor, repeats: int) -> Row:
    first = time_run(case)
    difference = (_draw(case).float() - expected.float()).abs().max() / expected.float().abs().max()
    return {
        "model": case.name,
        "about": case.about,
        "way": name,
        "first_run_seconds": first,
        "seconds": _time(case, repeats),
        "difference": float(difference),
    }


def _time(case: Case, repeats: int) -> float:
    return median(time_run(case) for _ in range(repeats))


def _draw(case: Case) -> torch.Tensor:
    out = case()
    drawn: torch.Tensor = out if isinstance(out, torch.Tensor) else out[0]
    return drawn
