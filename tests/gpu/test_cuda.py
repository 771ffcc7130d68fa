"""What only a CUDA device can show; run by ``pytest -m cuda`` where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.tiny import FAMILIES, NFE, PLAN, Family
from torch import Tensor

from padecast import Position, accelerate
from padecast.forecasters import Lagrange, Oracle, Reuse, ToCa
from padecast.forecasters.toca import Tokens
from padecast.memory.memory import Memory
from padecast.memory.ring import Storage
from padecast.policies import Plan

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


@pytest.fixture
def waiting_is_an_error() -> Iterator[None]:
    """Whatever waits for the GPU raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


def on_gpu(family: Family) -> Any:
    return family.make().to("cuda")


@every_family
def test_all_computed_is_bit_identical(family: Family) -> None:
    pipe = on_gpu(family)
    untouched = family.sample(pipe)
    with accelerate(pipe, policy=Plan("C" * len(PLAN)), forecaster=Reuse()):
        assert torch.equal(family.sample(pipe), untouched)


@every_family
def test_the_oracle_is_right_within_rounding(family: Family) -> None:
    pipe = on_gpu(family)
    untouched = family.sample(pipe)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()):
        torch.testing.assert_close(family.sample(pipe), untouched, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_step_with_weights_on_the_host_does_not_wait(dtype: torch.dtype, waiting_is_an_error: None) -> None:
    memory = Memory(3, measure=False)
    for step in range(3):
        x = torch.randn(2, 64, 32, device="cuda", dtype=dtype)
        memory.remember(Position.at(step, 9), (x,), (x + step,))
    (out,) = memory.add((x,), Lagrange(2).weights(memory.geometry(), Position.at(4, 9)))
    assert out.is_cuda


def test_what_fills_up_a_batch_is_left_out_without_a_wait(waiting_is_an_error: None) -> None:
    memory, rows = Memory(3), (torch.arange(64, device="cuda") < 40).expand(2, -1)
    for step in range(3):
        x = torch.randn(2, 64, 32, device="cuda")
        memory.remember(Position.at(step, 9), (x,), (x + step,), rows=(rows,))
    gram = memory.geometry().gram
    assert gram is not None and gram.is_cuda
    tokens = ToCa(0.3).choose(Tokens(torch.zeros(2, 64, device="cuda"), (64,), rows=rows))
    assert tokens.shape == (2, 20)


@pytest.mark.parametrize("stored", [None, torch.bfloat16, torch.float8_e4m3fn], ids=str)
def test_a_history_on_the_host_gives_the_same_forecast(stored: torch.dtype | None) -> None:
    here, there = (Memory(3, storage=Storage(stored, away)) for away in (False, True))
    draw = torch.Generator("cuda").manual_seed(0)

    def features() -> Tensor:
        return torch.randn(2, 4096, 64, device="cuda", generator=draw)

    for step in range(7):
        x, y = features(), features()
        here.remember(Position.at(step, 9), (x,), (y,)), there.remember(Position.at(step, 9), (x,), (y,))
    weights = torch.tensor([2.0, -1.5, 0.25], dtype=torch.float64)
    torch.testing.assert_close(here.add((x,), weights)[0], there.add((x,), weights)[0])
    torch.testing.assert_close(here.geometry().gram, there.geometry().gram)
    assert there.nbytes == here.nbytes


@every_family
def test_peak_memory_is_the_declared_history_and_little_more(family: Family) -> None:
    pipe = on_gpu(family)

    def peak() -> int:
        torch.cuda.reset_peak_memory_stats()
        family.sample(pipe)
        return torch.cuda.max_memory_allocated()

    peak()
    untouched = peak()
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange(), measure=False) as run:
        accelerated = peak()
        assert run.report.computed == NFE
        # 512 bytes are the least that the allocator gives; a tiny model's tensors are not much larger
        assert accelerated - untouched <= 1.05 * run.report.history_bytes + 64 * 512
