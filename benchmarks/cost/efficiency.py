"""Speed next to the ideal, of padecast and of other caches that compute as many steps."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from rich.console import Console

from cost.caches import (
    Way,
    cache_dit,
    even,
    first_block,
    magcache,
    nothing,
    ours,
    planned,
    seacache,
    taylorseer,
)
from cost.models import Case, digits, middle_flux, middle_wan
from padecast import zoo
from padecast.lab.timing import time_call

Row = dict[str, Any]
SAY = Console(stderr=True)


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
    with time_call(case.pipe):
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
    with time_call(case.pipe) as watch:
        case()
    return watch.denoiser_seconds


def short(row: Row) -> str:
    if "error" in row:
        return str(row["error"])
    return f"{row['speedup']:.2f}x of {row['ideal']:.2f}x at NFE {row['nfe']}, efficiency {row['efficiency']:.3f}"
