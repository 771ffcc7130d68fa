"""What padecast itself costs: a forecast step, inner products, efficiency next to other caches, memory.

    python benchmarks/overhead.py [--part forecast|products|memory|cuda|digits|flux|wan] [--quick]

Run it from the repository root on a machine that does nothing else; it downloads nothing. The CPU takes a quarter of
an hour. On a CUDA device the parts use it, and ``cuda`` adds FLUX.1-dev, Wan2.1-1.3B and DiT-XL/2 at full size with
random weights (40 GB); without one its rows are null. Writes benchmarks/results/overhead.json; ``--part`` (several
times, if wanted) replaces those parts in it, ``--quick`` tries everything out on less and writes nothing.

Every figure is a ratio of medians of runs that alternate in one process (A B A B ...). In part:

    forecast    Memory.add, and the whole of Session.forecast, over the floor: reading the input and K residuals and
                writing the output, K + 2 times the residual's bytes, at the rate at which torch copies the same
                tensors back and forth. ``over_floor_allocating`` adds to the floor what a fresh output costs (clone
                over copy), which a CPU pays in page faults and a GPU's caching allocator does not.
    products    Memory.remember with and without inner products, over one computed step of the model.
    memory      Peak of allocated bytes over the uncached run, next to what the report declares. On a CPU it is the
                highest sum of the allocations that torch's profiler saw, in a short run.
    cuda        Efficiency and memory on models of full size, and whether a run waits for the GPU inside the model.
    digits, flux, wan
                Efficiency: (uncached denoiser seconds / accelerated denoiser seconds) / (steps / NFE). The NFE is
                counted: calls in which the last block's attention ran. The bound is the same run with nothing at all
                in place of the blocks left out: what lies outside the blocks keeps it under 1.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import torch
from common import RESULTS, write
from overhead_models import (
    CUDA,
    DEVICE,
    Case,
    Way,
    cache_dit,
    digits,
    dit_xl,
    even,
    first_block,
    flux_dev,
    magcache,
    middle_flux,
    middle_wan,
    nothing,
    ours,
    planned,
    seacache,
    taylorseer,
    wan_small,
)
from rich.console import Console
from rich.table import Table
from torch import Tensor

import padecast
from padecast import zoo
from padecast._history import Position
from padecast._memory import Memory
from padecast._provenance import Provenance
from padecast._session import Session
from padecast.forecasters import Lagrange
from padecast.lab.timing import synchronize, timed
from padecast.methods import Method, method
from padecast.policies import Plan

Row = dict[str, Any]
SAY = Console(stderr=True)
SHAPES: dict[str, tuple[tuple[int, ...], ...]] = {
    "digits, batch 16": ((32, 64, 192),),
    "DiT-XL/2, 256x256, batch 2": ((2, 256, 1152),),
    "FLUX, 1024x1024": ((1, 4096, 3072), (1, 512, 3072)),
}


# Timing ---------------------------------------------------------------------------------------------------------------


def seconds(run: Callable[[], Any], repeats: int = 1) -> float:
    synchronize()
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    synchronize()
    return (time.perf_counter() - started) / repeats


def alternating(runs: dict[str, Callable[[], Any]], least: float) -> dict[str, float]:
    """Return median seconds of runs made in turn, each long enough to be timed, for so many seconds in all."""
    once = {name: (run(), seconds(run))[1] for name, run in runs.items()}
    inner = {name: max(1, int(2e-3 / once[name])) for name in runs}
    taken: dict[str, list[float]] = {name: [] for name in runs}
    stop = time.perf_counter() + least
    while len(next(iter(taken.values()))) < 7 or time.perf_counter() < stop:
        for name, run in runs.items():
            taken[name].append(seconds(run, inner[name]))
    return {name: median(values) for name, values in taken.items()}


# Forecast -------------------------------------------------------------------------------------------------------------


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


# Inner products -------------------------------------------------------------------------------------------------------


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
        with torch.no_grad(), timed(case.pipe) as watch:
            case.run(3)
        taken.append(watch.denoiser_seconds / 3)
    return median(taken)


# Efficiency -----------------------------------------------------------------------------------------------------------


def digits_rows(quick: bool) -> Iterator[Row]:
    case = digits(4 if quick else 16)
    bound = nothing(planned(case, even("tc-pade", 4, 3)))
    return compared(case, [*digits_ways(), bound], 1 if quick else 7)


def flux_rows(quick: bool) -> Iterator[Row]:
    return beside_peers(middle_flux(quick), 1 if quick else 5)


def wan_rows(quick: bool) -> Iterator[Row]:
    return beside_peers(middle_wan(quick), 1 if quick else 5)


def beside_peers(case: Case, repeats: int) -> Iterator[Row]:
    plan = planned(case, even("tc-pade", 4, 3))
    wanted = [even("tc-pade", 4, 3), linear(), nothing(plan)]
    return compared(case, [*wanted, *peers(case, plan.count("C"), plan)], repeats)


def digits_ways() -> list[Way]:
    plans = {6: (4, 0), 8: (4, 3), 10: (3, 3)}
    ways = [way for every, warmup in plans.values() for way in (even("tc-pade", every, warmup), linear(every, warmup))]
    calibrated = zoo.calibration("digits", "hard").method(computed=8)
    return [*ways, ours(calibrated, "calibrated"), even("tc-pade", 4, 3, measure=True)]


def linear(every: int = 4, warmup: int = 3) -> Way:
    way = even("linear", every, warmup)
    return Way("padecast, lagrange", way.settings, way.on)


def peers(case: Case, nfe: int, plan: str) -> list[Way | Row]:
    """The other caches, set to compute as many steps; what cannot be put on says why."""
    makers: dict[str, Callable[[], Way]] = {
        "FirstBlockCache": lambda: first_block(case, nfe),
        "MagCache": lambda: magcache(case.steps, nfe),
        "TaylorSeer": lambda: taylorseer(case, nfe, lite=False),
        "TaylorSeer, lite": lambda: taylorseer(case, nfe, lite=True),
        "SeaCache": lambda: seacache(case.steps, nfe),
        "cache-dit": lambda: cache_dit(plan),
    }
    if not case.name.startswith("Wan"):
        del makers["SeaCache"]  # for Wan and Cosmos alone
    found: list[Way | Row] = []
    for name, make in makers.items():
        SAY.print(f"efficiency: {case.name}: setting {name}")
        found.append(attempted(name, case, make))
    return found


def attempted(name: str, case: Case, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except Exception as error:
        return {"model": case.name, "way": name, "error": f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"}


def compared(case: Case, ways: Sequence[Way | Row], repeats: int) -> Iterator[Row]:
    """Measure every way against uncached runs made in turn with it."""
    with timed(case.pipe):
        case.run(2)
    for way in ways:
        row = way
        if isinstance(way, Way):
            row = attempted(way.name, case, lambda way=way: efficiency(case, way, repeats))
        SAY.print(f"efficiency: {case.name}: {row['way']}: {short(row)}")
        yield row


def efficiency(case: Case, way: Way, repeats: int) -> Row:
    plan = planned(case, way)  # also makes what the first run makes
    taken: dict[str, list[float]] = {"uncached": [], "cached": []}
    for _ in range(repeats):
        taken["uncached"].append(denoising(case))
        off = way.on(case)
        try:
            taken["cached"].append(denoising(case))
        finally:
            off()
    plain, cached = median(taken["uncached"]), median(taken["cached"])
    nfe = plan.count("C")
    return {
        "model": case.name,
        "about": case.about,
        "way": way.name,
        "settings": way.settings,
        "notes": way.notes,
        "steps": len(plan),
        "nfe": nfe,
        "plan": plan,
        "repeats": repeats,
        "uncached_seconds": plain,
        "cached_seconds": cached,
        "all_seconds": taken,
        "speedup": plain / cached,
        "ideal": len(plan) / nfe,
        "efficiency": plain / cached / (len(plan) / nfe),
    }


def denoising(case: Case) -> float:
    gc.collect()
    with timed(case.pipe) as watch:
        case()
    return watch.denoiser_seconds


# Memory ---------------------------------------------------------------------------------------------------------------


def memory_rows(quick: bool) -> list[Row]:
    rows = []
    for make in (lambda: digits(4 if quick else 16, steps=8), lambda: middle_flux(quick)):
        case = make()
        case.steps = 8
        for plan in ("CC.C.C.C", "CCC..C.C"):
            rows.append(memory_row(case, plan))
            SAY.print(f"memory: {rows[-1]}")
    return rows


def memory_row(case: Case, plan: str) -> Row:
    chosen = Method("tc-pade", Plan(plan), method("tc-pade").forecaster, "")
    case()
    plain = peak(case)
    handle = padecast.enable(case.target, chosen, steps=case.steps, measure=False)
    try:
        over = peak(case) - plain
        declared = handle.report.history_bytes
    finally:
        handle.disable()
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


# CUDA -----------------------------------------------------------------------------------------------------------------

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


# Tables ---------------------------------------------------------------------------------------------------------------


def short(row: Row) -> str:
    if "error" in row:
        return str(row["error"])
    return f"{row['speedup']:.2f}x of {row['ideal']:.2f}x at NFE {row['nfe']}, efficiency {row['efficiency']:.3f}"


def shown(part: str, rows: list[Row]) -> Table:
    hidden = {"settings", "notes", "all_seconds", "about", "how"}
    table = Table(title=part)
    columns = [key for key in dict.fromkeys(key for row in rows for key in row) if key not in hidden]
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(column)) for column in columns))
    return table


def cell(value: Any) -> str:
    if isinstance(value, list):
        return "\n".join(f"{row['way']}: {short(row)}" for row in value)
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


PARTS: dict[str, Callable[[bool], Iterable[Row]]] = {
    "forecast": forecast_rows,
    "products": product_rows,
    "memory": memory_rows,
    "cuda": cuda_rows,
    "digits": digits_rows,
    "flux": flux_rows,
    "wan": wan_rows,
}


def main() -> None:
    """Measure, write after every part, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--quick", action="store_true", help="try it out on less; nothing is written")
    parser.add_argument("--busy", action="store_true", help="record that the machine was doing something else")
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    for part in chosen.part or PARTS:
        rows: list[Row] = []
        for row in PARTS[part](chosen.quick):
            rows.append(row)
            if not chosen.quick:
                keep(part, rows, chosen.busy)
        Console(width=190).print(shown(part, rows))


def keep(part: str, rows: list[Row], busy: bool) -> None:
    """Write what there is of a part, beside the other parts."""
    path = RESULTS / "overhead.json"
    document = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"parts": {}}
    document["parts"][part] = {"provenance": {**asdict(Provenance.of()), "machine_busy": busy}, "rows": rows}
    write(path.name, document)


if __name__ == "__main__":
    main()
