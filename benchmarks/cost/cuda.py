"""Models of full size on a CUDA device."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console

import padecast
from cost.caches import even, nothing, planned
from cost.efficiency import attempted, compared, linear, peers
from cost.memory import memory_row
from cost.models import CUDA, Case, dit_xl, flux_dev, wan_small
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


def cuda_rows(quick: bool) -> list[Row]:
    if not CUDA:
        keys = ("efficiency", "memory", "waits_for_gpu")
        return [{"model": name, **dict.fromkeys(keys), "note": "no CUDA device"} for name in FULL]
    rows = []
    for name, make in FULL.items():
        SAY.print(f"cuda: {name}")
        rows.append(cuda_row(name, make(), 1 if quick else 3))
        gc.collect()
        torch.cuda.empty_cache()
    return rows


def cuda_row(name: str, case: Case, repeats: int) -> Row:
    wanted = even("tc-pade", 4, 3)
    plan = planned(case, wanted)
    others = peers(case, plan.count("C"), plan) if not name.startswith("DiT") else []
    return {
        "model": name,
        "about": case.about,
        "efficiency": list(compared(case, [wanted, linear(), nothing(plan), *others], repeats)),
        "memory": attempted("memory", case, lambda: memory_row(case, plan)),
        "waits_for_gpu": {"uncached": waits(case, None), "padecast": waits(case, plan)},
        "note": None,
    }


def waits(case: Case, plan: str | None) -> str:
    """Say whether a run of a fixed plan waits for the GPU inside the model, from padecast's first hook to its last."""
    chosen = None if plan is None else Method("lagrange", Plan(plan), Lagrange(1), "")
    handle = None if chosen is None else padecast.enable(case.target, chosen, steps=case.steps, measure=False)
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
