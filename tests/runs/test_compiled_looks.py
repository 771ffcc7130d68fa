"""Methods that look at a model before they decide, when its blocks or all of it are compiled."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo
from tests.tiny import flux
from tests.toy import Pipe, Toy, described
from torch import Tensor, nn
from torch._dynamo.utils import counters

from padecast import accelerate

pytestmark = [pytest.mark.fault("looks under compile"), pytest.mark.usefixtures("toy", "fresh_compiler")]
LOOKS = {
    "first-block:threshold=0.2": "C..C.C",
    "teacache:threshold=0.3": "C..C.C",
    "easycache:threshold=0.6": "CC.C.C",
}


@pytest.fixture(scope="module")
def toy() -> Iterator[None]:
    with described():
        yield


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


RAN = Counter[str]()


def backend(graph: Any, _inputs: Any) -> Any:
    """Compile nothing, and count how often graphs are run."""

    def run(*args: Any) -> Any:
        RAN["graphs"] += 1
        return graph(*args)

    return run


def blocks(pipe: Pipe) -> None:
    for block in pipe.transformer.blocks:
        block.compile(backend=backend)  # as compile_repeated_blocks does


def whole(pipe: Pipe) -> None:
    pipe.transformer = torch.compile(pipe.transformer, backend=backend)  # type: ignore[assignment]


def in_place(pipe: Pipe) -> None:
    pipe.transformer.compile(backend=backend)


FAST = [("first-block:threshold=0.2", whole), ("teacache:threshold=0.3", blocks)]
CASES = [
    pytest.param(method, compiled, marks=() if (method, compiled) in FAST else pytest.mark.slow)
    for method in LOOKS
    for compiled in (blocks, whole, in_place)
]


@pytest.mark.parametrize(("method", "compiled"), CASES)
def test_the_same_images_and_as_few_graphs(method: str, compiled: Callable[[Pipe], None]) -> None:
    """A step is cut once, where the method looks: two graphs if it is computed, and no more than one if it is not."""
    pipe = Pipe(Toy())
    untouched = pipe()
    with accelerate(pipe, method) as run:
        expected = pipe()
        assert run.report.plan == LOOKS[method]
    compiled(pipe)
    with accelerate(pipe, method) as run:
        for _ in range(2):
            torch.testing.assert_close(pipe(), expected)
            assert run.report.plan == LOOKS[method]
        graphs = counters["stats"]["unique_graphs"]
        RAN.clear()
        pipe()
        assert counters["stats"]["unique_graphs"] == graphs
        assert 0 < RAN["graphs"] <= 2 * LOOKS[method].count("C") + LOOKS[method].count(".")
    torch.testing.assert_close(pipe(), untouched)


@pytest.mark.parametrize("compiled", [blocks, pytest.param(whole, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["first-block:threshold=0.2", "teacache:threshold=0.3"])
def test_compiled_while_it_is_on(method: str, compiled: Callable[[Pipe], None]) -> None:
    pipe = Pipe(Toy())
    untouched = pipe()
    with accelerate(pipe, method) as run:
        expected = pipe()
        compiled(pipe)
        torch.testing.assert_close(pipe(), expected)
        assert run.report.plan == LOOKS[method]
    torch.testing.assert_close(pipe(), untouched)


def sample(model: nn.Module) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    given: dict[str, Any] = {
        "hidden_states": torch.randn(1, 16, 4, generator=draw),
        "encoder_hidden_states": torch.randn(1, 5, 8, generator=draw),
        "pooled_projections": torch.randn(1, 8, generator=draw),
        "img_ids": torch.zeros(16, 3),
        "txt_ids": torch.zeros(5, 3),
    }
    with torch.no_grad():
        return torch.cat([model(timestep=torch.tensor([t]), **given)[0] for t in (0.9, 0.6, 0.3, 0.1)])


@pytest.mark.parametrize(
    "method", ["first-block:threshold=9", pytest.param("teacache:threshold=9", marks=pytest.mark.slow)]
)
def test_repeated_blocks_of_a_model_of_diffusers(method: str) -> None:
    model = flux(num_layers=1, num_single_layers=1)
    with accelerate(model, method, steps=4):
        expected = sample(model)
    model.compile_repeated_blocks(backend="eager")
    with accelerate(model, method, steps=4) as run:
        torch.testing.assert_close(sample(model), expected)
    assert run.report.plan == ("C..." if "first" in method else "C..C")
