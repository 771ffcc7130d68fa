"""What every one of two processes does in the tests of many processes; each writes what it saw to a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed
from torch import multiprocessing as processes

from padecast import Position, Session, accelerate
from padecast.forecasters import TCPade
from padecast.memory.memory import Memory
from padecast.policies import Plan, Tolerance

STEPS = 12
PLAN = "CC..C..C"
RULES = {
    "plan": {"policy": f"plan:steps={PLAN}", "forecaster": "lagrange"},
    "adaptive": {"method": "adaptive:tolerance=0.02"},
    "stability": {"method": "tc-pade-fast:every=2"},
    "first block": {"method": "first-block:threshold=0.4"},
    "modulated input": {"method": "teacache:threshold=0.4"},
}


def spread(work: Any, folder: Path, *given: Any) -> list[Any]:
    """Run ``work(rank, *given)`` in two processes that know each other, and return what they returned."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[2]))  # where the processes find this module
        processes.spawn(_begin, (folder, work, given), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def _begin(rank: int, folder: Path, work: Any, given: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2)
    torch.save(work(rank, *given), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def trajectory() -> tuple[Tensor, Tensor]:
    """Residuals ``(T, 1, N, D)`` whose first half of the tokens moves evenly, and whose second half turns; an input."""
    draw = torch.Generator().manual_seed(0)
    line, bend, base = (torch.randn(1, 6, 8, generator=draw) for _ in range(3))
    t = torch.arange(STEPS)[:, None, None, None] / STEPS
    moving = base + torch.cat([0.3 * t * line[:, :3], torch.sin(7 * t) * bend[:, 3:]], dim=2)
    return moving, torch.randn(1, 6, 8, generator=draw)


def by_hand(residuals: Tensor, x: Tensor, group: Any) -> tuple[str, Tensor]:
    """Step by hand through a run whose residuals are given; returns the plan and all outputs."""
    session = Session(Tolerance(0.004), TCPade(), STEPS, group=group)
    outputs = [session.step(x, index=i, compute=lambda r=r: x + r) for i, r in enumerate(residuals)]
    return session.plan, torch.stack(outputs)


def half(rank: int, joined: bool) -> tuple[str, Tensor, Tensor]:
    """Step with this process's half of the tokens; and measure some of them."""
    residuals, x = trajectory()
    own, group = slice(3 * rank, 3 * rank + 3), distributed.group.WORLD if joined else None
    return *by_hand(residuals[:, :, own], x[:, own], group), measured(own, group)


def measured(own: slice, group: Any) -> Tensor:
    """Inner products of two samples, of which the second has but four tokens of six."""
    residuals, memory = trajectory()[0].repeat(1, 2, 1, 1)[:, :, own], Memory(3, group=group)
    rows = (torch.arange(6) < torch.tensor([[6], [4]]))[:, own]
    for step, residual in enumerate(residuals[:3]):
        memory.remember(Position.at(step, 9), (torch.zeros_like(residual),), (residual,), rows=(rows,))
    gram = memory.geometry().gram
    assert gram is not None
    return gram


def context_parallel(_rank: int, name: str) -> dict[str, Any]:
    """Sample with the tokens split over both processes by diffusers."""
    # diffusers takes longer to import than all else that the processes do without it
    from diffusers import ContextParallelConfig
    from tests.tiny import flux_pipeline, sample_flux, sample_wan, wan_pipeline

    torch.accelerator.device_count = lambda: 1  # diffusers asks for accelerators, of which a CPU has none
    draw = torch.Generator().manual_seed(6)
    make, sample = {"flux": (flux_pipeline, sample_flux), "wan": (wan_pipeline, sample_wan)}[name]
    prompt = {key: torch.randn(1, 6, 8, generator=draw) for key in ("prompt_embeds", "negative_prompt_embeds")}
    single, split = make(), make()
    split.transformer.set_attention_backend("native")
    split.transformer.enable_parallelism(config=ContextParallelConfig(ulysses_degree=2))
    seen: dict[str, Any] = {"untouched": (sample(single, **prompt), sample(split, **prompt))}
    for rule, options in RULES.items():
        for where, pipe in (("alone", single), ("split", split)):
            with accelerate(pipe, **options) as run:
                seen[f"{rule} {where}"] = sample(pipe, **prompt)
                seen[f"{rule} {where} plan"] = run.report.plan
    seen["computed"] = _computed(split, sample, prompt)
    seen["after"] = sample(split, **prompt)
    return seen


def _computed(pipe: Any, sample: Any, prompt: dict[str, Tensor]) -> Tensor:
    with accelerate(pipe, policy=Plan("C" * len(PLAN))):
        images: Tensor = sample(pipe, **prompt)
    return images
