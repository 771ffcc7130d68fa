"""The three recipes of CONTRIBUTING.md do what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import padecast
from padecast import Geometry, Position, policies, targets

TEXT = (Path(__file__).parent.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def recipe(name: str) -> dict[str, Any]:
    """Run the code block of one recipe and return its names."""
    (code,) = re.findall(rf'```python title="{name}"\n(.*?)```', TEXT, flags=re.DOTALL)
    names: dict[str, Any] = {"__name__": f"recipe_{name}"}
    exec(compile(code, f"CONTRIBUTING.md, {name}", "exec", dont_inherit=True), names)
    return names


class MyTransformer(nn.Module):
    """What the model recipe describes."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(3))

    def forward(self, hidden_states: torch.Tensor, timestep: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            hidden_states = layer(hidden_states)
        return hidden_states


class Layer(nn.Module):
    """A block whose calls are counted."""

    calls = 0

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        Layer.calls += 1
        return hidden_states + 1


def test_the_forecaster_is_half_of_linear_extrapolation() -> None:
    forecaster = recipe("forecaster")["Halfway"]()
    weights = forecaster.weights(Geometry((4, 0), (4.0, 0.0)), Position.at(6, 20))
    assert weights.tolist() == [1.25, -0.25]
    assert forecaster.weights(Geometry((0,), (0.0,)), Position.at(1, 20)).tolist() == [1.0]


def test_the_policy_computes_every_other_step_and_the_last() -> None:
    assert policies.plan_of(recipe("policy")["Alternate"](), 8) == "C.C.C.CC"


def test_the_described_model_skips_its_blocks() -> None:
    try:
        recipe("model")
        model, Layer.calls = MyTransformer(), 0
        with torch.no_grad(), padecast.accelerate(model, policy="plan:steps=CC.", forecaster="reuse"):
            outputs = [model(torch.zeros(1, 4, 2), torch.tensor([t])) for t in (3.0, 2.0, 1.0)]
        assert Layer.calls == 2 * 3
        assert all(torch.equal(output, torch.full((1, 4, 2), 3.0)) for output in outputs)
    finally:
        targets.REGISTRY.pop("MyTransformer", None)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:src|tests|benchmarks)/[\w./]+)`", TEXT))))
def test_every_path_that_it_names_exists(path: str) -> None:
    assert (Path(__file__).parent.parent / path).exists()
