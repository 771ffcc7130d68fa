"""The example of Ray Serve, in this process and without a cluster: repeats are equal, and so are requests in a line."""

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from tests.calibration.tiny import QUICK, sparing
from tests.fuzz.leftovers import traces
from tests.integrations.test_server import draw
from tests.lab.tiny import digits

import padecast

with warnings.catch_warnings():  # of Ray's own, about what it imports
    warnings.simplefilter("ignore")
    serve: Any = pytest.importorskip("ray.serve", reason="Ray Serve is of ray[serve]: make ray")
    example: Any = importlib.import_module("examples.ray_serve")

pytestmark = pytest.mark.filterwarnings("ignore")  # of Ray's own, wherever it calls
STEPS, ORDER = 6, {"steps": 6, "guidance_scale": 3.0, "shift": 2.0, "computed": 3}


@pytest.fixture(scope="module")
def calibration() -> padecast.Calibration:
    with sparing():
        return padecast.calibrate(digits(), lambda pipe, seed: draw(pipe, seed=seed), [3], range(2), effort=QUICK)


@pytest.fixture
def pipe() -> Any:
    return digits()


@pytest.fixture
def handle(pipe: Any, calibration: padecast.Calibration) -> Iterator[Any]:
    app = example.Digits.bind(pipe, [calibration], "fora:every=2")
    yield serve.run(app, name="digits", _local_testing_mode=True)
    assert traces(pipe.transformer) == []


def test_a_request_that_is_repeated_is_drawn_alike(handle: Any, calibration: padecast.Calibration) -> None:
    (first, plan), (second, _) = (handle.remote([3], **ORDER).result() for _ in range(2))
    assert torch.equal(first, second) and plan == calibration.choices[3].best.candidate.plan
    with padecast.accelerate(digits(), calibration, computed=3) as run:
        assert torch.equal(draw(run.pipe), first)


def test_other_steps_are_served_too(handle: Any) -> None:
    assert handle.remote([3], **{**ORDER, "steps": 9}).result()[1] == "C.C.C.C.C"


def test_requests_in_a_line_are_drawn_as_alone(handle: Any) -> None:
    alone = [handle.remote([3], seed=seed, **ORDER).result()[0] for seed in range(4)]
    responses = [handle.remote([3], seed=seed, **ORDER) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        images = list(pool.map(lambda response: response.result()[0], responses))
    assert all(torch.equal(*pair) for pair in zip(images, alone, strict=True))


def test_without_its_lock_a_second_request_is_refused(pipe: Any, calibration: padecast.Calibration) -> None:
    replica = example.Digits.func_or_class(pipe, [calibration], "fora:every=2")
    replica.lock = contextlib.nullcontext()
    inside: list[str] = []

    def ask_again(*_: Any) -> None:
        if not inside:
            inside.append("")
            with ThreadPoolExecutor(1) as pool:
                inside[0] = type(pool.submit(replica, [3], **ORDER).exception()).__name__

    hook = pipe.transformer.register_forward_pre_hook(ask_again)
    replica([3], **ORDER)
    hook.remove()
    assert inside == ["AlreadyAccelerated"] and traces(pipe.transformer) == []
