"""Memory over an uncached run, next to what the report declares."""

from __future__ import annotations

import gc
from typing import Any

import torch
from rich.console import Console

from benchmarks.cost.models import CUDA, Case, digits, middle_flux
from padecast.methods import Method, method
from padecast.policies import Plan

Row = dict[str, Any]
SAY = Console(stderr=True)


def measure_memory(quick: bool) -> list[Row]:
    """Measure two models on two short plans."""
    rows = []
    for make in (lambda: digits(4 if quick else 16, steps=8), lambda: middle_flux(quick)):
        case = make()
        case.steps = 8
        for plan in ("CC.C.C.C", "CCC..C.C"):
            rows.append(measure_run(case, plan))
            SAY.print(f"memory: {rows[-1]}")
    return rows


def measure_run(case: Case, plan: str) -> Row:
    """Measure the peak of one run over that of the uncached run."""
    rule = Method("tc-pade", Plan(plan), method("tc-pade").forecaster, "")
    case()
    plain = peak(case)
    with case.accelerate(rule) as run:
        over = peak(case) - plain
        declared = run.report.history_bytes
    return {
        "model": case.name,
        "about": case.about,
        "plan": plan,
        "uncached_peak_bytes": plain,
        "over_uncached_bytes": over,
        "declared_bytes": declared,
        "over_declared": over / declared,
        "how": "torch.cuda.max_memory_allocated" if CUDA else "sum of allocations, torch.profiler",
    }


def peak(case: Case) -> int:
    """Return the most bytes that a run had allocated at one time, over what was allocated before it."""
    gc.collect()
    if CUDA:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        case()
        return torch.cuda.max_memory_allocated() - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as seen:
        case()
    results = seen.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most
