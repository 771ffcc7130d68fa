"""A forecast step over its bytes-moved floor, and inner products over a computed step."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

import torch
from rich.console import Console
from torch import Tensor

from benchmarks.cost.models import DEVICE, Case, digits, dit_xl
from padecast._steps import Position
from padecast.forecasters import Lagrange
from padecast.lab.timing import synchronize, time_call
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


def measure_forecasts(quick: bool) -> list[Row]:
    """Measure forecasts of features of several sizes, from one and from three residuals."""
    rows = []
    for name, shapes in SHAPES.items():
        for dtype in (torch.float32, torch.bfloat16):
            for count in (1, 3):
                sizes = shapes if not quick else tuple((s[0], s[1] // 8, s[2]) for s in shapes)
                SAY.print(f"forecast: {name}, {dtype}, K = {count}")
                rows += measure_forecast(name, sizes, dtype, count, 0.2 if quick else 2.0)
                gc.collect()
    return rows


def fill(shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, count: int) -> tuple[Session, tuple[Tensor, ...]]:
    """Return a session whose next step is forecast from so many residuals, and the step's input."""
    session = Session(Plan("C" * count + ".C"), Lagrange(count - 1), count + 2, measure=False)
    entry = tuple(torch.randn(shape, dtype=dtype, device=DEVICE) for shape in shapes)
    for step in range(count):
        session.begin(Position.at(step, count + 2))
        session.branch("").learn(entry, tuple(torch.randn_like(x) for x in entry))
    session.begin(Position.at(count, count + 2))
    return session, entry


def measure_forecast(
    name: str, shapes: Sequence[tuple[int, ...]], dtype: torch.dtype, count: int, least: float
) -> list[Row]:
    """Time forecasts in turn with the copies that are their floor."""
    session, entry = fill(shapes, dtype, count)
    branch, batch = session.branch(""), shapes[0][0]
    memory = session._run.histories.memories[""]
    pool = [tuple(torch.randn_like(x) for x in entry) for _ in range(count + 2)]
    shared, single = torch.full((count,), 1 / count), torch.full((batch, count), 1 / count, device=DEVICE)

    def copy() -> None:  # moves the residual 2 (K + 2) times
        for place, streams in enumerate(pool):
            for source, target in zip(pool[place - 1], streams, strict=True):
                target.copy_(source)

    def whole() -> None:
        branch.served = -1  # as if it had not been served at this step
        branch.forecast(entry)

    runs: dict[str, Callable[[], Any]] = {
        "copy": copy,
        "copy once": lambda: [target.copy_(x) for x, target in zip(entry, pool[0], strict=True)],
        "clone": lambda: [x.clone() for x in entry],
        "Memory.add, weights (K,)": lambda: memory.add(entry, shared),
        "Memory.add, weights (B, K)": lambda: memory.add(entry, single),
        "Session.forecast": whole,
    }
    with torch.no_grad():
        took = time_in_turn(runs, least)
    size, floor = sum(x.numel() * x.element_size() for x in entry), took["copy"] / 2
    fresh = max(took["clone"] - took["copy once"], 0.0)
    common = {"shape": name, "dtype": str(dtype)[6:], "kept": count, "residual_bytes": size, "floor_seconds": floor}
    common |= {"copy_bytes_per_second": 2 * (count + 2) * size / took["copy"], "fresh_output_seconds": fresh}
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


def measure_products(quick: bool) -> list[Row]:
    """Measure inner products of features of several sizes."""
    cases: list[tuple[Callable[[], Case] | None, str, torch.dtype]] = [
        (digits, "digits, batch 16", torch.float32),
        (None if quick else lambda: dit_xl(20), "DiT-XL/2, 256x256, batch 2", torch.float32),
        (None, "FLUX, 1024x1024", torch.float32),
        (None, "FLUX, 1024x1024", torch.bfloat16),
    ]
    rows = []
    for make, name, dtype in cases:
        SAY.print(f"products: {name}, {dtype}")
        rows.append(measure_product(make() if make else None, name, dtype, 0.2 if quick else 3.0))
        gc.collect()
    return rows


def measure_product(case: Case | None, name: str, dtype: torch.dtype, least: float) -> Row:
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
        took = time_in_turn(runs, least)
    step = None if case is None else time_step(case)
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


def time_step(case: Case) -> float:
    """Return the median denoiser seconds of one step, over three runs of three steps."""
    times = []
    for _ in range(3):
        with torch.no_grad(), time_call(case.pipe) as watch:
            case.run(3)
        times.append(watch.denoiser_seconds / 3)
    return median(times)


def time_run(run: Callable[[], Any], repeats: int = 1) -> float:
    """Return the seconds of a run, the mean of so many."""
    synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize()
    return (time.perf_counter() - started) / repeats


def time_in_turn(runs: dict[str, Callable[[], Any]], least: float) -> dict[str, float]:
    """Return median seconds of runs made in turn, each long enough to be timed, for so many seconds in all."""
    once = {name: (run(), time_run(run))[1] for name, run in runs.items()}
    inner = {name: max(1, int(2e-3 / once[name])) for name in runs}
    times: dict[str, list[float]] = {name: [] for name in runs}
    stop = time.perf_counter() + least
    while len(next(iter(times.values()))) < 7 or time.perf_counter() < stop:
        for name, run in runs.items():
            times[name].append(time_run(run, inner[name]))
    return {name: median(values) for name, values in times.items()}
