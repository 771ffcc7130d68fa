from __future__ import annotations

import pytest
import torch
from torch import Tensor

from padecast import Session, policies
from padecast.forecasters import Oracle


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_every_step_equals_the_stack_within_rounding_and_the_plan_is_kept(dtype: torch.dtype) -> None:
    plan, calls = "C..C...C", 0
    session = Session(policies.Plan(plan), Oracle(), total=len(plan))
    generator = torch.Generator().manual_seed(0)
    for index in range(len(plan)):
        x, y = torch.randn(2, 2, 3, 4, generator=generator).to(dtype)

        def stack(y: Tensor = y) -> Tensor:
            nonlocal calls
            calls += 1
            return y

        out = session.step(x, index=index, compute=stack)
        # x + (y - x) rounds twice, at the size of what is added
        torch.testing.assert_close(out, y, rtol=0, atol=torch.finfo(dtype).eps * float((x.abs() + y.abs()).max()))
    assert calls == len(plan)
    assert session.plan == plan
    assert not any(record.notes for record in session.records)


def test_what_is_remembered_comes_from_computed_steps_alone() -> None:
    session = Session(policies.Plan("C.C."), Oracle(), total=4)
    x = torch.zeros(1, 2)
    for index in range(4):
        session.step(x, index=index, compute=lambda index=index: x + index)
    assert session.records[-1].geometry == {}
    assert session.records[2].geometry[""].index == (2, 0)
