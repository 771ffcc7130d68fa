"""Speed next to the ideal, of padecast and of other caches that compute as many steps."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from rich.console import Console

from benchmarks.cost.caches import (
    Way,
    find_plan,
    leave_out,
    use,
    use_cache_dit,
    use_evenly,
    use_first_block,
    use_magcache,
    use_seacache,
    use_taylorseer,
)
from benchmarks.cost.models import Case, digits, middle_flux, middle_wan
from padecast import zoo
from padecast.lab.timing import time_call

Row = dict[str, Any]
SAY = Console(stderr=True)


def measure_digits(quick: bool) -> Iterator[Row]:
    """Measure padecast alone, on the demo model."""
    case = digits(4 if quick else 16)
    names, plans = ("tc-pade", "linear"), ((4, 0), (4, 3), (3, 3))  # 6, 8 and 10 computed
    ways = [use_evenly(name, *plan) for plan in plans for name in names]
    ways += [
        use(zoo.calibration("digits", "hard").method(computed=8), "calibrated"),
        use_evenly("tc-pade", measure=True),
    ]
    ways.append(leave_out(find_plan(case, use_evenly("tc-pade"))))
    return compare(case, ways, 1 if quick else 7)


def measure_flux(quick: bool) -> Iterator[Row]:
    """Measure a FLUX of middle size."""
    return measure_beside(middle_flux(quick), 1 if quick else 5)


def measure_wan(quick: bool) -> Iterator[Row]:
    """Measure a Wan of middle size."""
    return measure_beside(middle_wan(quick), 1 if quick else 5)


def measure_beside(case: Case, repeats: int) -> Iterator[Row]:
    """Measure padecast, the bound and other caches that compute as many steps."""
    plan = find_plan(case, use_evenly("tc-pade"))
    ways = [use_evenly("tc-pade"), use_evenly("linear"), leave_out(plan)]
    return compare(case, [*ways, *list_peers(case, plan)], repeats)


def list_makers(case: Case, plan: str) -> dict[str, Callable[[], Way]]:
    """Return what sets the other caches to compute as many steps as a plan."""
    nfe, total = plan.count("C"), case.steps
    makers: dict[str, Callable[[], Way]] = {
        "FirstBlockCache": lambda: use_first_block(case, nfe),
        "MagCache": lambda: use_magcache(total, nfe),
        "TaylorSeer": lambda: use_taylorseer(total, nfe, lite=False),
        "TaylorSeer, lite": lambda: use_taylorseer(total, nfe, lite=True),
        "SeaCache": lambda: use_seacache(total, nfe),
        "cache-dit": lambda: use_cache_dit(plan),
    }
    if not case.name.startswith("Wan"):
        del makers["SeaCache"]  # for Wan and Cosmos alone
    return makers


def list_peers(case: Case, plan: str) -> list[Way | Row]:
    """Return the other caches, set to compute as many steps; what cannot be put on says why."""
    ways: list[Way | Row] = []
    for name, make in list_makers(case, plan).items():
        SAY.print(f"efficiency: {case.name}: setting {name}")
        ways.append(attempt(name, case, make))
    return ways


def attempt(name: str, case: Case, make: Callable[[], Any]) -> Any:
    """Return what a function returns, or a row with its error."""
    try:
        return make()
    except Exception as error:
        return {"model": case.name, "way": name, "error": f"{type(error).__name__}: {str(error).splitlines()[0][:160]}"}


def compare(case: Case, ways: Sequence[Way | Row], repeats: int) -> Iterator[Row]:
    """Measure every way against uncached runs made in turn with it."""
    with time_call(case.pipe):
        case.run(2)
    for way in ways:
        row = way
        if isinstance(way, Way):
            row = attempt(way.name, case, lambda way=way: measure(case, way, repeats))
        SAY.print(f"efficiency: {case.name}: {row['way']}: {shorten(row)}")
        yield row


def measure(case: Case, way: Way, repeats: int) -> Row:
    """Measure one way against uncached runs made in turn with it."""
    plan = find_plan(case, way)  # also makes what the first run makes
    times: dict[str, list[float]] = {"uncached": [], "cached": []}
    for _ in range(repeats):
        times["uncached"].append(time_denoiser(case))
        with way.on(case):
            times["cached"].append(time_denoiser(case))
    plain, cached = median(times["uncached"]), median(times["cached"])
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
        "all_seconds": times,
        "speedup": plain / cached,
        "ideal": len(plan) / nfe,
        "efficiency": plain / cached / (len(plan) / nfe),
    }


def time_denoiser(case: Case) -> float:
    """Run once, and return the seconds spent in the model."""
    gc.collect()
    with time_call(case.pipe) as watch:
        case()
    return watch.denoiser_seconds


def shorten(row: Row) -> str:
    """Write a row in short."""
    if "error" in row:
        return str(row["error"])
    return f"{row['speedup']:.2f}x of {row['ideal']:.2f}x at NFE {row['nfe']}, efficiency {row['efficiency']:.3f}"
