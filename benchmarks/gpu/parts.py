"""The parts of a run on a CUDA device: what each measures, item by item, and for how long at most."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import padecast
from benchmarks.common import ROOT
from benchmarks.cost.caches import Way, find_plan, leave_out, use, use_evenly
from benchmarks.cost.efficiency import attempt, list_makers, measure
from benchmarks.cost.memory import measure_memory, measure_run
from benchmarks.cost.models import CUDA, DEVICE, Case, dit_xl, flux, flux_dev, middle_flux, middle_wan, wan, wan_small
from benchmarks.cost.steps import measure_forecasts, measure_products, time_run
from benchmarks.gpu.compiled import compile_blocks, compile_whole, measure_compiled
from benchmarks.gpu.learning import LATENTS, measure_note, measure_teaching
from benchmarks.gpu.waits import count_waits
from padecast.methods import METHODS, Method, method
from padecast.policies import Interval

Items = dict[str, Callable[[], Any]]
PEERS = ("cache-dit", "FirstBlockCache", "MagCache", "TaylorSeer, lite", "TaylorSeer", "SeaCache")
"""Other caches, those first that are to be measured if there is not time for all."""


@dataclass(frozen=True)
class Part:
    """What is measured in a process of its own.

    Args:
        about: What it measures, in a line.
        seconds: How long it may take, with what it imports and builds.
        items: Returns its items, which build what they need when they are called; with true, of tiny sizes.
    """

    about: str
    seconds: int
    items: Callable[[bool], Items]


# Small parts ----------------------------------------------------------------------------------------------------------


def list_machine(tiny: bool) -> Items:
    """Return what is to be known of the machine."""
    return {"device": describe_device, "products": lambda: time_products(64 if tiny else 8192)}


def describe_device() -> dict[str, Any]:
    """Describe the device, and say which other libraries there are."""
    known = {name: importlib.util.find_spec(name) is not None for name in ("diffusers", "cache_dit", "torchao")}
    if not CUDA:
        return {"cuda": None, "libraries": known}
    seen = torch.cuda.get_device_properties(DEVICE)
    memory, capability = seen.total_memory, f"{seen.major}.{seen.minor}"
    return {"cuda": torch.version.cuda, "bytes": memory, "capability": capability, "libraries": known}


def time_products(size: int) -> dict[str, Any]:
    """Time a matrix product in bfloat16, and the start of an operation that does hardly anything."""
    left, small = torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16), torch.ones(1, device=DEVICE)
    for _ in range(3):
        left @ left
    seconds = time_run(lambda: left @ left, 10)
    return {"operations_per_second": 2 * size**3 / seconds, "start_seconds": time_run(lambda: small.add_(1), 1000)}


def list_tests(tiny: bool) -> Items:
    """Return the tests that need a CUDA device."""
    return {"tests/gpu": run_tests}


def run_tests() -> dict[str, Any]:
    """Run the tests that need a CUDA device, and return what became of them."""
    with TemporaryDirectory() as folder:
        report = Path(folder) / "tests.xml"
        quietly = ("-q", "-p", "no:cacheprovider", "-W", "default", "--tb=line", "--no-header")
        command = [sys.executable, "-m", "pytest", *quietly, "-m", "cuda", "tests/gpu", f"--junitxml={report}"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        if not report.exists():
            raise RuntimeError(f"pytest ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-300:]}")
        cases = list(ElementTree.parse(report).iter("testcase"))
    return {
        "tests": len(cases),
        "skipped": sum(c.find("skipped") is not None for c in cases),
        "failed": list_bad(cases),
    }


def list_bad(cases: list[ElementTree.Element]) -> dict[str, str]:
    """Return which tests failed, and the beginning of why."""
    bad = {}
    for case in cases:
        for kind in ("failure", "error"):
            found = case.find(kind)
            if found is not None:
                bad[str(case.get("name"))] = str(found.get("message")).splitlines()[0][:300]
    return bad


def list_waits(tiny: bool) -> Items:
    """Return the methods, each of which is looked at for waits in a small FLUX and in a small Wan."""
    cases: dict[str, Callable[[], Case]] = {
        "FLUX": functools.cache(lambda: tiny_flux(10) if tiny else middle_flux(True)),
        "Wan": functools.cache(lambda: tiny_wan(10) if tiny else middle_wan(True)),
    }
    models = ["FLUX"] if tiny else list(cases)
    names = ["tc-pade", "learned"] if tiny else [each.name for each in METHODS]
    items: Items = {}
    for model in models:
        items[f"{model}: uncached"] = lambda model=model: count_waits(cases[model]())
        for name in names:
            items[f"{model}: {name}"] = lambda model=model, name=name: count_waits_of(cases[model](), name)
        items[f"{model}: tc-pade, report measured"] = lambda model=model: count_waits(
            cases[model](), cases[model]().accelerate(method("tc-pade"), measure=True)
        )
    return items


def count_waits_of(case: Case, name: str) -> dict[str, Any]:
    """Count the waits of a method; of one that learns, those of a run that teaches."""
    if name != "learned":
        return count_waits(case, padecast.accelerate(case.target, name, measure=False))
    with TemporaryDirectory() as folder:  # two runs teach, so that the one that is looked at does
        taught = padecast.accelerate(case.target, "learned:runs=2", computed=8, measure=False, lessons=Path(folder))
        return count_waits(case, taught)


def list_steps(tiny: bool) -> Items:
    """Return what single steps cost, and memory in short runs."""
    return {
        "forecast": lambda: measure_forecasts(tiny),
        "products": lambda: measure_products(tiny),
        "memory": lambda: measure_memory(tiny),
    }


def list_lessons(tiny: bool) -> Items:
    """Return what is done with the output of one step of a run that teaches."""
    names = list(LATENTS)[: 1 if tiny else None]
    return {f"note: {name}": lambda name=name: measure_note(name, 3 if tiny else 20) for name in names}


def list_compiled(tiny: bool) -> Items:
    """Return models with blocks of full size, but few of them, compiled in two ways."""
    options = {"backend": "eager"} if tiny else {}
    repeats, steps = (1, 8) if tiny else (3, 20)

    def make_flux() -> Case:
        few = {"num_layers": 4, "num_single_layers": 8, "guidance_embeds": True}
        return tiny_flux(steps) if tiny else flux("FLUX, 4 + 8", 1024, steps, 512, torch.bfloat16, **few)

    def make_dit() -> Case:
        return tiny_dit(steps) if tiny else dit_xl(steps, dtype=torch.bfloat16)

    items: Items = {  # DiT names no blocks that repeat
        "FLUX, blocks": lambda: measure_compiled(make_flux(), compile_blocks, repeats, **options),
        "FLUX, whole": lambda: measure_compiled(make_flux(), compile_whole, repeats, **options),
        "DiT, whole": lambda: measure_compiled(make_dit(), compile_whole, repeats, **options),
    }
    return dict(list(items.items())[: 1 if tiny else None])


# Models of full size --------------------------------------------------------------------------------------------------


def tiny_flux(steps: int) -> Case:
    """Return a FLUX that takes a moment on a CPU."""
    sizes = {"num_layers": 1, "num_single_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2}
    sizes |= {"in_channels": 16, "joint_attention_dim": 16, "pooled_projection_dim": 16}
    return flux("FLUX, tiny", 64, steps, 8, torch.bfloat16, axes_dims_rope=(4, 4, 8), **sizes)


def tiny_wan(steps: int) -> Case:
    """Return a Wan that takes a moment on a CPU."""
    sizes = {"num_attention_heads": 2, "attention_head_dim": 16, "text_dim": 16, "freq_dim": 16, "ffn_dim": 32}
    return wan("Wan, tiny", (32, 32, 5), steps, 8, torch.bfloat16, num_layers=2, **sizes)


def tiny_dit(steps: int) -> Case:
    """Return a DiT that takes a moment on a CPU."""
    return dit_xl(steps, dtype=torch.bfloat16, num_attention_heads=2, attention_head_dim=8, num_layers=2, sample_size=8)


def list_dit(tiny: bool) -> Items:
    """Return what is measured of DiT-XL/2, which is called in a loop: other caches ask for a pipeline."""
    make = tiny_dit if tiny else lambda steps: dit_xl(steps, dtype=torch.bfloat16)
    return list_model(make, (8,) if tiny else (50,), repeats=1 if tiny else 3)


def list_wan(tiny: bool) -> Items:
    """Return what is measured of Wan2.1-1.3B, of clips short enough for the time that there is."""
    make = tiny_wan if tiny else lambda steps: wan_small(steps, frames=33)
    return list_model(make, (10,) if tiny else (20,), PEERS, 1 if tiny else 2)


def list_flux(tiny: bool) -> Items:
    """Return what is measured of FLUX.1-dev."""
    return list_model(tiny_flux if tiny else flux_dev, (10,) if tiny else (20, 50), PEERS[:-1], 1 if tiny else 3)


def list_model(
    make: Callable[[int], Case], lengths: tuple[int, ...], peers: tuple[str, ...] = (), repeats: int = 3
) -> Items:
    """Return what is measured of a model: speed, memory, waits, teaching, and other caches.

    Args:
        make: Builds it, for runs of so many steps.
        lengths: Steps of its runs; what is no speed is measured at the first alone.
        peers: Other caches.
        repeats: Runs whose median is taken.
    """
    build = functools.cache(lambda: _warm(make(lengths[0])))

    def at(steps: int) -> Case:
        case = build()
        case.steps = steps
        return case

    def speed(steps: int, find: Callable[[Case], Way]) -> Callable[[], Any]:
        return lambda: measure(at(steps), find(at(steps)), repeats)

    def speed_of(peer: str, steps: int) -> Callable[[], Any]:
        # One that is not installed, or knows nothing of the model, says so in its row, and is not tried again.
        run = speed(steps, lambda case: list_makers(case, plan(steps))[peer]())
        return lambda: attempt(peer, at(steps), run)

    @functools.cache
    def plan(steps: int) -> str:
        return find_plan(at(steps), use_evenly("tc-pade"))

    first, is_pipeline = lengths[0], bool(peers)
    items: Items = {}
    for steps in lengths:
        items[f"{steps} steps: tc-pade"] = speed(steps, lambda _: use_evenly("tc-pade"))
        items[f"{steps} steps: bound"] = speed(steps, lambda case: leave_out(plan(case.steps)))
        if steps == first:
            items["waits: uncached"] = lambda: count_waits(at(first))
            items["waits: linear"] = lambda: count_waits(at(first), use_evenly("linear").on(at(first)))
            items["waits: tc-pade"] = lambda: count_waits(at(first), use_evenly("tc-pade").on(at(first)))
            items["memory"] = lambda: measure_run(at(first), plan(first))
            if is_pipeline:
                items["teaching"] = lambda: measure_teaching(at(first), repeats)
        items[f"{steps} steps: linear"] = speed(steps, lambda _: use_evenly("linear"))
        items[f"{steps} steps: adaptive"] = speed(steps, lambda _: use(method("adaptive")))
        items[f"{steps} steps: tc-pade, history on the host"] = speed(steps, lambda _: use_host())
        items |= {f"{steps} steps: {peer}": speed_of(peer, steps) for peer in peers}
    return items


def use_host() -> Way:
    """Return tc-pade's forecaster on an even plan, with its history in host memory."""
    rule = Method("tc-pade", Interval(every=4, warmup=3), method("tc-pade").forecaster, "")
    shown = "padecast, tc-pade, history on the host"
    return Way(shown, f"{rule.policy}, {rule.forecaster}", lambda case: case.accelerate(rule, offload=True))


def _warm(case: Case) -> Case:
    with torch.no_grad():
        case.run(2)
    return case


PARTS: dict[str, Part] = {
    "machine": Part("the device, a matrix product, the start of an operation", 90, list_machine),
    "tests": Part("tests/gpu", 240, list_tests),
    "waits": Part("which methods wait for the GPU inside the model, and where", 180, list_waits),
    "steps": Part("a forecast step over its floor, inner products, memory", 150, list_steps),
    "lessons": Part("collecting what a step teaches", 90, list_lessons),
    "dit": Part("DiT-XL/2, 50 steps", 180, list_dit),
    "flux": Part("FLUX.1-dev, 20 and 50 steps, beside other caches", 600, list_flux),
    "wan": Part("Wan2.1-1.3B, 20 steps, beside other caches", 420, list_wan),
    "compiled": Part("compiled blocks and models", 420, list_compiled),
}
"""In the order in which they are measured; together no more than forty minutes."""
