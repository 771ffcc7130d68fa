"""The example of a server, by requests over HTTP: each is served as alone, and none leaves anything behind."""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from tests.calibration.tiny import QUICK, sparing
from tests.fuzz.leftovers import traces
from tests.integrations import http
from tests.lab.tiny import digits
from torch import Tensor

import padecast
from padecast.handles.handle import handles_on

for name in ("fastapi", "uvicorn"):
    pytest.importorskip(name, reason=f"{name} is of the extra server")
server: Any = importlib.import_module("examples.server")
STEPS, OTHER = 6, 9
ORDER: dict[str, Any] = {"labels": [3], "steps": STEPS, "guidance": 3.0, "shift": 2.0, "computed": 3}


class Stop:
    """Counts the calls of a model, holds the one of a number until it is let go, and fails at another."""

    def __init__(self) -> None:
        self.calls, self.at, self.failing = 0, 0, 0
        self.arrived, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.arrived.set()
            assert self.go_on.wait(http.PATIENCE)
        if self.calls == self.failing:
            raise MemoryError("no room")


@pytest.fixture(scope="module")
def calibrations() -> list[padecast.Calibration]:
    def make(steps: int) -> padecast.Calibration:
        def call(pipe: Any, seed: int) -> Tensor:
            return draw(pipe, seed=seed, steps=steps)

        with sparing():
            return padecast.calibrate(digits(), call, [2, 3, 4], range(2), effort=QUICK, name=str(steps))

    return [make(4), make(STEPS)]


def draw(pipe: Any, labels: Sequence[int] = (3,), seed: int = 0, steps: int = STEPS) -> Tensor:
    generator = [torch.Generator().manual_seed(seed + i) for i in range(len(labels))]
    options = {"guidance_scale": 3.0, "shift": 2.0, "output_type": "pt"}
    images: Tensor = pipe(list(labels), num_inference_steps=steps, generator=generator, **options).images
    return images


@pytest.fixture
def stop() -> Stop:
    return Stop()


@pytest.fixture
def studio(request: pytest.FixtureRequest, calibrations: list[padecast.Calibration], stop: Stop) -> server.Studio:
    pipe = digits()
    pipe.transformer.register_forward_pre_hook(stop)
    return server.Studio(
        server.share(pipe, getattr(request, "param", 1)), calibrations, otherwise="fora:every=2", limit=8
    )


@pytest.fixture
def client(studio: server.Studio) -> Iterator[http.Client]:
    model = studio.pipes[0].transformer
    hooks = dict(model._forward_pre_hooks)
    model._forward_pre_hooks.clear()
    before = traces(model)
    model._forward_pre_hooks.update(hooks)
    with http.serve(server.make_app(studio)) as client:
        yield client
        client.wait("padecast_drawing", 0)
    model._forward_pre_hooks.clear()
    assert traces(model) == before == [] and handles_on() == []


@pytest.fixture
def alone(calibrations: list[padecast.Calibration]) -> Any:
    """Draws an order as a pipeline of its own does."""

    def draw_alone(order: dict[str, Any], method: Any = calibrations) -> Tensor:
        with padecast.accelerate(digits(), method, computed=order["computed"], otherwise="fora:every=2") as run:
            return draw(run.pipe, order["labels"], order.get("seed", 0), order["steps"])

    return draw_alone


def test_every_request_has_its_own_quality_and_is_served_as_alone(client: http.Client, alone: Any) -> None:
    for order, report in (
        ({}, f"3 of {STEPS}, calibrated:3"),
        ({"computed": 4}, f"4 of {STEPS}, calibrated:4"),
        ({"steps": 4, "computed": 2}, "2 of 4, calibrated:2"),
        ({"steps": OTHER, "labels": [1, 7], "seed": 4}, f"5 of {OTHER}, fora"),
    ):
        answer = client.post(**{**ORDER, **order})
        assert (answer.status, answer.report) == (200, report)
        assert torch.equal(answer.images, alone({**ORDER, **order}))


def test_a_speedup_and_exact_images_can_be_asked_for(client: http.Client, stop: Stop) -> None:
    order = {name: value for name, value in ORDER.items() if name != "computed"}
    assert client.post(**order, speedup=1.5).report == f"4 of {STEPS}, calibrated:4"
    answer = client.post(**order, exact=True)
    assert answer.report == f"all of {STEPS}" and torch.equal(answer.images, draw(digits()))


def test_a_picture_is_a_png(client: http.Client) -> None:
    assert client.post(**ORDER, format="png").body.startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"computed": 5}, "no plan of the calibration"),
        ({"computed": 3, "speedup": 2.0}, "2 wishes given"),
        ({"labels": [12]}, "draws the digits 0 to 9"),
        ({"computed": 3, "exact": True}, "leave computed and speedup out"),
        ({"nonsense": 1}, "nonsense"),
        ({"steps": 0}, "steps"),
        ({"seed": 10**23}, "seed"),
        ({"guidance": 1e39}, "guidance"),
        ({"guidance": float("inf")}, "guidance"),
        ({"shift": 1e300}, "shift"),
        ({"shift": float("nan")}, "shift"),
    ],
)
def test_what_cannot_be_served_is_refused_with_the_reason(
    client: http.Client, stop: Stop, order: dict[str, Any], words: str
) -> None:
    answer = client.post(**{**ORDER, **order})
    assert answer.status == 422 and words in answer.body.decode() and stop.calls == 0
    assert client.numbers()['padecast_requests_total{outcome="refused"}'] >= 1


@pytest.mark.parametrize("studio", [1, 3], indirect=True, ids=lambda count: f"{count} pipelines")
def test_requests_at_once_are_served_as_alone(client: http.Client, alone: Any, studio: server.Studio) -> None:
    orders = [{**ORDER, "seed": i, "steps": (4, STEPS, OTHER)[i % 3], "computed": 2 + i % 2} for i in range(8)]
    with ThreadPoolExecutor(len(orders)) as pool:
        answers = list(pool.map(lambda order: client.post(**order), orders))
    for order, answer in zip(orders, answers, strict=True):
        assert answer.status == 200 and torch.equal(answer.images, alone(order))
    assert client.numbers()['padecast_requests_total{outcome="done"}'] == len(orders)


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_run_whose_client_leaves_ends_at_its_next_step(client: http.Client, alone: Any, stop: Stop, at: int) -> None:
    stop.at = at
    connection = client.begin(ORDER)
    assert stop.arrived.wait(http.PATIENCE)
    connection.close()
    client.wait("padecast_left_total", 1)
    stop.go_on.set()
    client.wait('padecast_requests_total{outcome="left"}', 1)
    assert stop.calls == at
    assert torch.equal(client.post(**ORDER).images, alone(ORDER))


def test_a_client_that_leaves_the_line_costs_no_step(client: http.Client, stop: Stop) -> None:
    stop.at = 1
    first = client.begin(ORDER)
    assert stop.arrived.wait(http.PATIENCE)
    second = client.begin(ORDER)
    client.wait("padecast_waiting", 1)
    second.close()
    client.wait("padecast_left_total", 1)
    stop.go_on.set()
    assert http.read(first).status == 200
    client.wait('padecast_requests_total{outcome="left"}', 1)
    assert stop.calls == STEPS  # of the first alone


def test_who_finds_the_line_full_is_told_to_come_back(client: http.Client, stop: Stop, studio: server.Studio) -> None:
    stop.at, studio.limit = 1, 1
    first, second = client.begin(ORDER), None
    assert stop.arrived.wait(http.PATIENCE)
    second = client.begin(ORDER)
    client.wait("padecast_waiting", 1)
    assert client.post(**ORDER).status == 503
    stop.go_on.set()
    assert {http.read(first).status, http.read(second).status} == {200}


def test_a_run_that_fails_says_nothing_of_the_next(client: http.Client, alone: Any, stop: Stop) -> None:
    stop.failing = 2
    assert client.post(**ORDER).status == 500
    assert torch.equal(client.post(**ORDER).images, alone(ORDER))
    assert client.numbers()['padecast_requests_total{outcome="failed"}'] == 1


def test_metrics_and_the_log_count_runs_and_steps(client: http.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "padecast"):
        for order in (ORDER, {**ORDER, "steps": OTHER}, {**ORDER, "computed": 5}):
            client.post(**order)
    numbers = client.numbers()
    assert numbers['padecast_runs_total{method="calibrated:3"}'] == numbers['padecast_runs_total{method="fora"}'] == 1
    assert numbers['padecast_steps_total{kind="computed"}'] == 3 + 5
    assert numbers['padecast_steps_total{kind="forecast"}'] == 3 + 4
    assert numbers['padecast_requests_total{outcome="refused"}'] == 1
    assert numbers["padecast_denoiser_seconds_total"] > 0
    lines = [record.getMessage() for record in caplog.records if record.name == "padecast"]
    assert [line.split(",")[0] for line in lines] == [f"3 of {STEPS} computed", f"5 of {OTHER} computed"]
