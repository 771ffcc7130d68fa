"""Compiled blocks and models give the same images; the eager backend compiles nothing, but shows what would be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from tests.tiny import flux_pipeline, sample_flux
from torch._dynamo.utils import counters

from padecast import accelerate
from padecast.forecasters import Lagrange
from padecast.policies import Plan

PLAN = "CC..C."
pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def blocks(pipe: Any) -> None:
    pipe.transformer.compile_repeated_blocks(backend="eager")


def whole(pipe: Any) -> None:
    pipe.transformer = torch.compile(pipe.transformer, backend="eager")


@pytest.mark.parametrize("compiling", [blocks, whole])
@pytest.mark.parametrize("first", ["compile", "accelerate"])
def test_the_same_images(compiling: Any, first: str) -> None:
    pipe = flux_pipeline()
    untouched = sample_flux(pipe, len(PLAN))
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
        expected = sample_flux(pipe, len(PLAN))
    if first == "compile":
        compiling(pipe)
    handle = accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()).enable()
    if first == "accelerate":
        compiling(pipe)
    for _ in range(2):
        torch.testing.assert_close(sample_flux(pipe, len(PLAN)), expected)
        assert handle.report.plan == PLAN
    handle.disable()
    torch.testing.assert_close(sample_flux(pipe, len(PLAN)), untouched)


def test_blocks_stay_compiled() -> None:
    """Only the first block of the span, which decides and forecasts, breaks its graph."""
    pipe = flux_pipeline()
    blocks(pipe)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
        sample_flux(pipe, len(PLAN))
        assert len(counters["graph_break"]) == 1 and "_forecast" in next(iter(counters["graph_break"]))
        graphs = counters["stats"]["unique_graphs"]
        sample_flux(pipe, len(PLAN))
        assert counters["stats"]["unique_graphs"] == graphs


def test_a_compiled_model_breaks_its_graph_once_a_step() -> None:
    pipe = flux_pipeline()
    whole(pipe)
    sample_flux(pipe, len(PLAN))
    assert not counters["graph_break"], "the model alone breaks its graph, and the count below is not ours"
    torch._dynamo.reset()
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
        sample_flux(pipe, len(PLAN))
        assert len(counters["graph_break"]) == 1 and "_forecast" in next(iter(counters["graph_break"]))
        graphs = counters["stats"]["unique_graphs"]
        sample_flux(pipe, len(PLAN))
        assert counters["stats"]["unique_graphs"] == graphs, "compiled anew in the second run"
