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
from padecast.session.branch import Branch

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
    """What is forecast is decided before the model is called, and traced into its first block."""
    pipe = flux_pipeline()
    blocks(pipe)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
        sample_flux(pipe, len(PLAN))
        assert not counters["graph_break"]
        graphs = counters["stats"]["unique_graphs"]
        sample_flux(pipe, len(PLAN))
        assert counters["stats"]["unique_graphs"] == graphs


def graphs_run(method: str, count: int) -> tuple[list[int], list[int], Any]:
    """The sizes of the graphs that a compiled model of so many blocks is made into, and runs; and the run's report."""
    made, ran = list[int](), list[int]()

    def backend(graph: Any, _inputs: Any) -> Any:
        made.append(len(graph.graph.nodes))

        def run(*args: Any) -> Any:
            ran.append(len(graph.graph.nodes))
            return graph(*args)

        return run

    pipe = flux_pipeline(transformer=flux(num_layers=count, num_single_layers=count))
    with accelerate(pipe, method):
        expected = sample_flux(pipe, 12, true_cfg_scale=1.0)
    pipe.transformer = torch.compile(pipe.transformer, backend=backend)
    with accelerate(pipe, method) as run:
        for _ in range(2):
            ran.clear()
            torch.testing.assert_close(sample_flux(pipe, 12, true_cfg_scale=1.0), expected)
        assert "." in run.report.plan
        return made, ran, run.report


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("method", ["linear", "tc-pade:span=full", "taylorseer"])
def test_a_compiled_model_is_one_graph_a_step(count: int, method: str) -> None:
    """Residuals and weights of the step are inputs of the graph: its forward is never cut."""
    _, ran, _ = graphs_run(method, count)
    assert len(ran) == 12


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize("method", ["tc-pade", "adaptive"])
def test_where_the_output_is_forecast_a_computed_step_is_the_whole_graph_and_the_others_are_none(
    count: int, method: str
) -> None:
    """Beside the graph of the whole model a computed step has two of a few lines, which hand its output on."""
    made, ran, report = graphs_run(method, count)
    large = [size for size in ran if size > 10]
    assert len(large) == report.computed and len(set(large)) == 1 and len(ran) <= 3 * report.computed
    assert large[0] > 100 * count
    assert sum(size > 10 for size in made) == 1, "what takes a minute of FLUX is done once"


def test_after_the_wrapper_is_taken_off_nothing_is_decided_for_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = flux_pipeline()
    model, asked = pipe.transformer, []
    whole(pipe)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        expected = sample_flux(pipe, len(PLAN))
        ready = Branch.ready
        monkeypatch.setattr(Branch, "ready", lambda branch: (asked.append(branch), ready(branch))[1])
        sample_flux(pipe, len(PLAN))
        assert len(asked) == 2 * PLAN.count("."), "a forecast of each branch before the model is called"
        asked.clear()
        pipe.transformer = model
        torch.testing.assert_close(sample_flux(pipe, len(PLAN)), expected)
        assert run.report.plan == PLAN and not asked


@pytest.mark.parametrize("compiling", [blocks, whole])
def test_chosen_tokens(compiling: Any) -> None:
    """Attention is not seen in a graph: age and spread decide."""
    pipe, method = flux_pipeline(transformer=flux(num_layers=1, num_single_layers=1)), "toca:every=3,fraction=0.5"
    with accelerate(pipe, f"{method},influence=0,control=0"):
        expected = sample_flux(pipe, 5, true_cfg_scale=1.0)
    compiling(pipe)
    with accelerate(pipe, f"{method},influence=0,control=0") as run:
        torch.testing.assert_close(sample_flux(pipe, 5, true_cfg_scale=1.0), expected)
    assert (run.report.plan, run.report.notes) == ("C..CC", {})
