"""Models of full size on a CUDA device."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console

from benchmarks.cost.caches import find_plan, leave_out, use_evenly
from benchmarks.cost.efficiency import attempt, compare, list_peers
from benchmarks.cost.memory import measure_run
from benchmarks.cost.models import CUDA, Case, dit_xl, flux_dev, wan_small
from padecast.forecasters import Lagrange
from padecast.methods import Method
from padecast.policies import Plan

Row = dict[str, Any]
SAY = Console(stderr=True)
FULL: dict[str, Callable[[], Case]] = {
    "FLUX.1-dev, 20 steps": lambda: flux_dev(20),
    "FLUX.1-dev, 50 steps": lambda: flux_dev(50),
    "Wan2.1-1.3B, 20 steps": lambda: wan_small(20),
    "DiT-XL/2, 50 steps": lambda: dit_xl(50, dtype=torch.bfloat16),
}


def measure_cuda(quick: bool) -> list[Row]:
    """Measure every model of full size; without a CUDA device its figures are null."""
    if not CUDA:
        keys = ("efficiency", "memory", "waits_for_gpu")
        return [{"model": name, **dict.fromkeys(keys), "note": "no CUDA device"} for name in FULL]
    rows = []
    for name, make in FULL.items():
        SAY.print(f"cuda: {name}")
        rows.append(measure_model(name, make(), 1 if quick else 3))
        gc.collect()
        torch.cuda.empty_cache()
    return rows


def measure_model(name: str, case: Case, repeats: int) -> Row:
    """Measure efficiency and memory of one model, and whether its runs wait for the GPU."""
    ours = [use_evenly("tc-pade"), use_evenly("linear")]
    plan = find_plan(case, ours[0])
    others = list_peers(case, plan) if not name.startswith("DiT") else []
    return {
        "model": name,
        "about": case.about,
        "efficiency": list(compare(case, [*ours, leave_out(plan), *others], repeats)),
        "memory": attempt("memory", case, lambda: measure_run(case, plan)),
        "waits_for_gpu": {"uncached": check_waits(case, None), "padecast": check_waits(case, plan)},
        "note": None,
    }


def check_waits(case: Case, plan: str | None) -> str:
    """Say whether a run of a fixed plan waits for the GPU inside the model, from padecast's first hook to its last."""
    handle = None if plan is None else case.accelerate(Method("lagrange", Plan(plan), Lagrange(1), ""))
    strict = case.model.register_forward_pre_hook(lambda *_: torch.cuda.set_sync_debug_mode("error"), prepend=True)
    loose = case.model.register_forward_hook(lambda *_: torch.cuda.set_sync_debug_mode("default"), always_call=True)
    try:
        case()
    except RuntimeError as error:
        return f"failed: {str(error).splitlines()[0][:160]}"
    finally:
        torch.cuda.set_sync_debug_mode("default")
        strict.remove()
        loose.remove()
        if handle is not None:
            handle.disable()
    return "passed"
