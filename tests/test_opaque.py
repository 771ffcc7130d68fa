"""Outputs that are remembered as they are, whatever their structure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from padecast import accelerate
from padecast.forecasters import Reuse


class Odd(nn.Module):
    """Returns what it is told to."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.scale, self.output, self.runs = nn.Parameter(torch.ones(())), output, 0

    def forward(self, sample: Tensor, timestep: Tensor, flat: bool = False) -> Any:
        self.runs += 1
        return self.output(self.scale * sample) if not flat else self.scale * sample


OUTPUTS = {
    "a tensor": lambda y: y,
    "a loss beside it": lambda y: (y, y.mean()),
    "a loss before it": lambda y: (y.mean(), y),
    "another batch": lambda y: (y, y[:1]),
    "a list": lambda y: [y[0], y[1]],
    "a dictionary with what is no feature": lambda y: {"sample": y, "mask": torch.ones(2, dtype=torch.int64), "n": 3},
}


@pytest.mark.parametrize("span", ["output", "difference"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_any_structure_comes_back_as_it_was(name: str, span: str) -> None:
    model, x = Odd(OUTPUTS[name]).requires_grad_(False), torch.randn(2, 3, 4)
    expected, spec = torch.utils._pytree.tree_flatten(model(x, torch.tensor(9.0)))
    model.runs = 0
    with torch.no_grad(), accelerate(model, policy="plan:steps=C.", forecaster=Reuse(), span=span) as run:
        for time in (9.0, 5.0):
            given, structure = torch.utils._pytree.tree_flatten(model(x, torch.tensor(time)))
            assert structure == spec
            for one, other in zip(given, expected, strict=True):
                torch.testing.assert_close(one, other)
    assert run.report.plan == "C." and model.runs == 1


def test_a_call_with_another_flag_is_another_call() -> None:
    model, x = Odd(lambda y: {"sample": y}).requires_grad_(False), torch.randn(2, 3)
    with torch.no_grad(), accelerate(model, policy="plan:steps=C...", forecaster=Reuse(), span="output") as run:
        model(x, torch.tensor(9.0))
        assert torch.equal(model(x, torch.tensor(8.0), flat=True), x)
        for t in (7.0, 6.0):
            assert model(x, torch.tensor(t)).keys() == {"sample"}
    assert run.report.plan == "CCC."  # the first branch missed a computed step
