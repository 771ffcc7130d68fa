"""Compiled blocks and models give the same images; the eager backend compiles nothing, but shows what would be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from tests.tiny import flux, flux_pipeline, sample_flux
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


@pytest.mark.parametrize("count", [2, 5])
def test_a_compiled_model_is_cut_at_its_blocks(count: int) -> None:
    """Its forward loops over blocks of which one breaks the graph, so that every block gets one of its own."""
    ran = [0]

    def backend(graph: Any, _inputs: Any) -> Any:
        def run(*args: Any) -> Any:
            ran[0] += 1
            return graph(*args)

        return run

    pipe = flux_pipeline(transformer=flux(num_layers=count, num_single_layers=count))
    pipe.transformer = torch.compile(pipe.transformer, backend=backend)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
        sample_flux(pipe, len(PLAN), true_cfg_scale=1.0)
        ran[0] = 0
        sample_flux(pipe, len(PLAN), true_cfg_scale=1.0)
    computed, forecast = PLAN.count("C"), PLAN.count(".")
    assert ran[0] <= computed * (2 * count + 4) + forecast * 4
