"""A forecast step over its bytes-moved floor, and inner products over a computed step."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from cost.clock import alternating
from cost.models import DEVICE, Case, digits, dit_xl
from padecast._steps import Position
from padecast.forecasters import Lagrange
from padecast.lab.timing import time_call
from padecast.memory.memory import Memory
from padecast.policies import Plan
from padecast.session.session import Session

Row = dict[str, Any]
SAY = Console(stderr=True)
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "digits, batch 16": ((32, 64, 192),),
    "DiT-XL/2, 256x256, batch 2": ((2, 256, 1152),),
    "FLUX, 1024x1024": ((1, 4096, 3072), (1, 512, 3072)),
}


def forecast_rows(quick: bool) -> list[Row]:
    rows = []
    for name, shapes in SHAPES.items():
        for dtype in (torch.float32, torch.bfloat16):
            for kept in (1, 3):
                wanted = shapes if not quick else tuple((s[0], s[1] // 8, s[2]) for s in shapes)
                SAY.print(f"forecast: {name}, {dtype}, K = {kept}")
                rows += forecast_row(name, wanted, dtype, kept, 0.2 if quick else 2.0)
                gc.collect()
    return rows


def filled(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, kept: int) -> tuple[Session, tuple[Tensor, ...]]:
    """Return a session whose next step is forecast from so many residuals, and the step's input."""
    session = Session(Plan("C" * kept + ".C"), Lagrange(kept - 1), kept + 2, measure=False)
    entry = tuple(torch.randn(shape, dtype=dtype, device=DEVICE) for shape in shapes)
    for step in range(kept):
        session.begin(Position.at(step, kept + 2))
        session.learn("", entry, tuple(torch.randn_like(x) for x in entry))
    session.begin(Position.at(kept, kept + 2))
    return session, entry


def forecast_row(
    name: str, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, kept: int, least: float
) -> list[Row]:
    session, entry = filled(shapes, dtype, kept)
    memory, batch = session._memories[""], shapes[0][0]
    pool = [tuple(torch.randn_like(x) for x in entry) for _ in range(kept + 2)]
    shared, own = torch.full((kept,), 1 / kept), torch.full((batch, kept), 1 / kept, device=DEVICE)

    def copy() -> None:  # moves the residual 2 (K + 2) times
        for place, streams in enumerate(pool):
            for source, target in zip(pool[place - 1], streams, strict=True):
                target.copy_(source)

    def whole() -> None:
        session._served.clear()
        session.forecast("", entry)

    runs: dict[str, Callable[[], Any]] = {
        "copy": copy,
        "copy once": lambda: [target.copy_(x) for x, target in zip(entry, pool[0], strict=True)],
        "clone": lambda: [x.clone() for x in entry],
        "Memory.add, weights (K,)": lambda: memory.add(entry, shared),
        "Memory.add, weights (B, K)": lambda: memory.add(entry, own),
        "Session.forecast": whole,
    }
    with torch.no_grad():
        took = alternating(runs, least)
    size, floor = sum(x.numel() * x.element_size() for x in entry), took["copy"] / 2
    fresh = max(took["clone"] - took["copy once"], 0.0)
    common = {"shape": name, "dtype": str(dtype)[6:], "kept": kept, "residual_bytes": size, "floor_seconds": floor}
    common |= {"copy_bytes_per_second": 2 * (kept + 2) * size / took["copy"], "fresh_output_seconds": fresh}
    return [
        {
            **common,
            "what": what,
            "seconds": took[what],
            "over_floor": took[what] / floor,
            "over_floor_allocating": took[what] / (floor + fresh),
        }
        for what in list(runs)[3:]
    ]


def product_rows(quick: bool) -> list[Row]:
    cases: list[tuple[Callable[[], Case] | None, str, torch.dtype]] = [
        (digits, "digits, batch 16", torch.float32),
        (None if quick else lambda: dit_xl(20), "DiT-XL/2, 256x256, batch 2", torch.float32),
        (None, "FLUX, 1024x1024", torch.float32),
        (None, "FLUX, 1024x1024", torch.bfloat16),
    ]
    rows = []
    for make, name, dtype in cases:
        SAY.print(f"products: {name}, {dtype}")
        rows.append(product_row(make() if make else None, name, dtype, 0.2 if quick else 3.0))
        gc.collect()
    return rows


def product_row(case: Case | None, name: str, dtype: torch.dtype, least: float) -> Row:
    """Time remembering with a full ring of three, with and without inner products, and a computed step."""
    entry = tuple(torch.randn(shape, dtype=dtype, device=DEVICE) for shape in SHAPES[name])
    output = tuple(torch.randn_like(x) for x in entry)
    steps = iter(range(10**9))
    memories = {measure: Memory(3, measure=measure) for measure in (False, True)}
    for memory in memories.values():
        for _ in range(3):
            memory.remember(Position.at(next(steps), 10**9), entry, output)

    def remember(measure: bool) -> Callable[[], None]:
        def run() -> None:
            memories[measure]._positions = memories[measure]._positions[:3]
            memories[measure].remember(Position.at(next(steps), 10**9), entry, output)

        return run

    runs: dict[str, Callable[[], Any]] = {"plain": remember(False), "measured": remember(True)}
    with torch.no_grad():
        took = alternating(runs, least)
    step = None if case is None else one_step(case)
    products = took["measured"] - took["plain"]
    return {
        "shape": name,
        "dtype": str(dtype)[6:],
        "kept": 3,
        "remember_seconds": took["plain"],
        "remember_measured_seconds": took["measured"],
        "products_seconds": products,
        "step_seconds": step,
        "remember_over_step": None if step is None else took["plain"] / step,
        "products_over_step": None if step is None else products / step,
        "note": None if case is None else case.about,
    }


def one_step(case: Case) -> float:
    """Return the median denoiser seconds of one step, over three runs of three steps."""
    taken = []
    for _ in range(3):
        with torch.no_grad(), time_call(case.pipe) as watch:
            case.run(3)
        taken.append(watch.denoiser_seconds / 3)
    return median(taken)
