"""Every forecaster goes through runs on a device that is none: no devices mix, and no step waits under a fixed plan."""

from __future__ import annotations

import pytest
import torch
from tests.gpu.pretend import DEVICE, Pretend

from padecast import Session
from padecast.forecasters import REGISTRY, Forecaster
from padecast.lessons.collector import Collector
from padecast.policies import Plan

PLAN = "CCC..C.C...C"
STRIDES = [1.0 + 0.1 * index for index in range(len(PLAN))]


def run(forecaster: Forecaster, dtype: torch.dtype, *, measure: bool) -> None:
    session = Session(Plan(PLAN), forecaster, len(PLAN), measure=measure, strides=STRIDES)
    for index in range(len(PLAN)):
        x = torch.empty(2, 8, 16, dtype=dtype, device=DEVICE)
        y = session.step(x, index=index, compute=lambda x=x: torch.empty_like(x))
        assert (y.device, y.dtype, y.shape) == (DEVICE, dtype, x.shape)
    assert session.plan == PLAN


@pytest.mark.parametrize("measure", [False, True], ids=["plain", "measured"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("name", REGISTRY)
def test_no_step_under_a_fixed_plan_waits(name: str, dtype: torch.dtype, measure: bool) -> None:
    with Pretend() as device:
        run(REGISTRY.make(name), dtype, measure=measure)
    assert device.waits == []


def test_what_a_step_teaches_is_taken_without_a_wait_and_in_few_operations() -> None:
    """An operation takes a GPU some microseconds to begin, however little it does."""
    collector, counted = Collector(2), Counted()
    with Pretend() as device, counted:
        collector.note(0, "guided", torch.empty(1, 16, 21, 60, 104, dtype=torch.bfloat16, device=DEVICE))
    assert device.waits == [] and counted.number < 300


class Counted(Pretend):
    """Counts operations too."""

    number = 0

    def __torch_dispatch__(self, *call: object) -> object:
        self.number += 1
        return super().__torch_dispatch__(*call)


def test_this_test_sees_what_it_should() -> None:
    there, here = torch.empty(3, device=DEVICE), torch.ones(3)
    with Pretend() as device:
        here.to(DEVICE, non_blocking=True)
        assert device.waits == []
        here.to(there)
        there.copy_(here)
        assert len(device.waits) == 2
        with pytest.raises(RuntimeError, match=r"cpu.*meta"):
            there + here
        with pytest.raises((RuntimeError, NotImplementedError)):
            there.sum().item()
