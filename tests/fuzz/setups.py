"""What may be switched on, by names that a failing sequence can print."""

from __future__ import annotations

from typing import Any

import torch

EXACT: dict[str, dict[str, Any]] = {
    "none": {"method": "none"},
    "always, taylor": {"policy": "always", "forecaster": "taylor"},
    "every step": {"method": "linear:every=1"},
    "every step at last": {"method": "tc-pade:every=1", "measure": False},
}
PLANS = {len(plan): plan for plan in ("C.", "C.C", "CC.C", "CC..C.", "CC..C..C.")}
FIXED: dict[str, dict[str, Any]] = {
    **{f"plan {plan}": {"policy": f"plan:steps={plan}", "forecaster": "lagrange"} for plan in PLANS.values()},
    "linear": {"method": "linear:every=2"},
    "linear, unmeasured": {"method": "linear:every=2", "measure": False},
    "linear in bfloat16": {"method": "linear:every=2", "dtype": torch.bfloat16},
    "linear on the host": {"method": "linear:every=2", "offload": True},
    "fora": {"method": "fora:every=3"},
    "taylorseer": {"method": "taylorseer:every=2,warmup=1"},
    "hicache": {"method": "hicache:every=2,warmup=1"},
    "foca": {"method": "foca:every=2,warmup=1"},
    "spectrum": {"method": "spectrum"},
    "delta-dit": {"method": "delta-dit"},
    "toca": {"method": "toca"},
    "magcache": {"method": "magcache"},
    "single": {"method": "linear:every=2", "span": "single"},
    "double": {"method": "fora:every=2", "span": "double"},
    "whole output": {"method": "linear:every=2", "span": "output"},
    "chebyshev moments": {"policy": "interval:every=2", "forecaster": "chebyshev"},
}
BY_FEATURES: dict[str, dict[str, Any]] = {
    "tc-pade": {"method": "tc-pade:every=2"},
    "pade": {"method": "pade:every=2"},
    "tc-pade-fast": {"method": "tc-pade-fast:threshold=0.01"},
    "adaptive": {"method": "adaptive"},
    "adaptive, tolerant": {"method": "adaptive:tolerance=0.5"},
    "teacache": {"method": "teacache:threshold=0.5"},
    "first-block": {"method": "first-block:threshold=0.5"},
    "easycache": {"method": "easycache:threshold=0.5"},
    "oracle": {"policy": "interval:every=2", "forecaster": "oracle"},
}
SETUPS = {**EXACT, **FIXED, **BY_FEATURES}
