"""A server of images: one pipeline or several that share their weights, and every request says what is computed.

    python examples/server.py --pipelines 2
    curl -s localhost:8000/images -H 'content-type: application/json' -d '{"labels": [3], "computed": 8}' -o three.png
    curl -s localhost:8000/metrics

It draws with the demo model digits and the calibration that ships with it. For a model of yours give `make_app` another
pipeline and its calibrations, and let `Order` have what its call takes. Needs fastapi and uvicorn: docs/server.md.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import io
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, model_validator

import padecast
from padecast import zoo

WATCH = 0.05
"""Seconds between two looks at whether a client is still there."""

MOST = 16
"""Images of a request."""


class Order(BaseModel):
    """What a request asks for."""

    model_config = ConfigDict(extra="forbid")
    labels: list[int] = Field(min_length=1, max_length=MOST)
    seed: int = Field(0, ge=0, lt=2**63 - MOST)  # each image has the next one
    steps: int = Field(20, ge=1, le=100)
    guidance: float = Field(5.0, ge=0, le=100)
    shift: float = Field(3.0, gt=0, le=100)
    computed: int | None = None
    speedup: float | None = None
    exact: bool = False
    format: Literal["png", "npy"] = "png"

    @model_validator(mode="after")
    def _check_exact(self) -> Order:
        if self.exact and (self.computed is not None or self.speedup is not None):
            raise ValueError("exact computes every step: leave computed and speedup out")
        return self

    def wish(self) -> dict[str, Any]:
        """Return what is asked of the calibrations; without a word of it, 2.5 times as fast."""
        wishes = {"computed": self.computed, "speedup": self.speedup}
        return {name: value for name, value in wishes.items() if value is not None} or {"speedup": 2.5}


class Gone(Exception):
    """The client is not there any more."""


# Metrics --------------------------------------------------------------------------------------------------------------

HELP = {
    "requests_total": "counter: Requests by how they ended.",
    "left_total": "counter: Requests whose client was seen to leave before their end.",
    "runs_total": "counter: Accelerated runs by the method that served them.",
    "steps_total": "counter: Steps of accelerated runs, computed or forecast.",
    "denoiser_seconds_total": "counter: Time in the denoiser of accelerated runs.",
    "waiting": "gauge: Requests that wait for a pipeline.",
    "drawing": "gauge: Requests that have one.",
}


class Metrics:
    """Numbers in the text format of Prometheus."""

    def __init__(self) -> None:
        self._lock, self._values = threading.Lock(), Counter[tuple[str, str]]()
        for name in ("waiting", "drawing"):
            self._values[name, ""] = 0

    def add(self, name: str, amount: float = 1, label: str = "") -> None:
        """Add to a number."""
        with self._lock:
            self._values[name, label] += amount  # type: ignore[assignment]

    def get(self, name: str, label: str = "") -> float:
        """Return a number."""
        with self._lock:
            return self._values[name, label]

    def hear(self, report: padecast.Report) -> None:
        """Count a run, in the thread that drew it: what `on_run` is given."""
        self.add("runs_total", label=f'method="{report.method}"')
        self.add("steps_total", report.computed, 'kind="computed"')
        self.add("steps_total", report.forecast, 'kind="forecast"')
        self.add("denoiser_seconds_total", report.seconds)

    def text(self) -> str:
        """Write all numbers."""
        with self._lock:
            values = sorted(self._values.items())
        lines = []
        for name, described in HELP.items():
            kind, _, words = described.partition(": ")
            lines += [f"# HELP padecast_{name} {words}", f"# TYPE padecast_{name} {kind}"]
            lines += [
                f"padecast_{name}{{{label}}} {value:g}" if label else f"padecast_{name} {value:g}"
                for (key, label), value in values
                if key == name
            ]
        return "\n".join(lines) + "\n"


# Drawing --------------------------------------------------------------------------------------------------------------


def share(pipe: Any, count: int) -> list[Any]:
    """Return a pipeline and so many more that share its weights, each with a scheduler of its own."""
    others = [type(pipe).from_pipe(pipe, scheduler=copy.deepcopy(pipe.scheduler)) for _ in range(count - 1)]
    for each in (pipe, *others):
        each.set_progress_bar_config(disable=True)
    return [pipe, *others]


@dataclass
class Studio:
    """Pipelines that wait for requests, and what they are accelerated by.

    Args:
        pipes: One is a lock: requests draw one after another.
        calibrations: Of every number of steps that is asked for often.
        otherwise: The method of runs that no calibration was made for.
        limit: Requests that may wait; further ones are told to come back.
    """

    pipes: Sequence[Any]
    calibrations: Sequence[padecast.Calibration]
    otherwise: str = "tc-pade"
    limit: int = 64
    metrics: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        for pipe in self.pipes:
            self._free.put_nowait(pipe)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Any]:
        """Wait for a pipeline that is free, and give it back."""
        self.metrics.add("waiting")
        try:
            pipe = await self._free.get()
        finally:
            self.metrics.add("waiting", -1)
        self.metrics.add("drawing")
        try:
            yield pipe
        finally:
            self.metrics.add("drawing", -1)
            self._free.put_nowait(pipe)

    async def serve(self, order: Order, gone: threading.Event) -> tuple[torch.Tensor, str] | None:
        """Return images and what was done for them; nothing once the client is gone."""
        async with self.turn() as pipe:
            try:
                return await asyncio.to_thread(self.draw, pipe, order, gone)
            except Gone:
                return None

    def draw(self, pipe: Any, order: Order, gone: threading.Event) -> tuple[torch.Tensor, str]:
        """Draw, in a thread; a run whose client is gone ends at its next step."""

        def look(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if gone.is_set():
                raise Gone
            return tensors

        if gone.is_set():
            raise Gone
        run = (
            nullcontext()
            if order.exact
            else padecast.accelerate(
                pipe, self.calibrations, **order.wish(), otherwise=self.otherwise, on_run=self.metrics.hear
            )
        )
        with run as handle:
            images = pipe(
                order.labels,
                num_inference_steps=order.steps,
                guidance_scale=order.guidance,
                shift=order.shift,
                generator=[torch.Generator().manual_seed(order.seed + i) for i in range(len(order.labels))],
                output_type="pt",
                callback_on_step_end=look,
            ).images
            report = handle.report if handle is not None else None
        return images, f"{report.computed} of {order.steps}, {report.method}" if report else f"all of {order.steps}"


def encode(images: torch.Tensor, kind: str) -> tuple[bytes, str]:
    """Return images side by side as a PNG, or as they are as an array of numpy; with the media type."""
    buffer = io.BytesIO()
    if kind == "npy":
        np.save(buffer, images.numpy())
        return buffer.getvalue(), "application/octet-stream"
    row = torch.cat(list(images[:, 0]), dim=1)
    Image.fromarray((row * 255).round().byte().numpy()).save(buffer, "png")
    return buffer.getvalue(), "image/png"


# The server -----------------------------------------------------------------------------------------------------------


def make_app(studio: Studio) -> FastAPI:
    """Return the application."""
    app, metrics = FastAPI(title="padecast"), studio.metrics

    @app.post("/images")
    async def images(order: Order, request: Request) -> Response:
        if metrics.get("waiting") >= studio.limit:
            metrics.add("requests_total", label='outcome="turned away"')
            raise HTTPException(503, "too many requests wait", {"Retry-After": "1"})
        gone, outcome = threading.Event(), "failed"
        drawing = asyncio.create_task(studio.serve(order, gone))
        try:
            while not drawing.done():
                await asyncio.wait({drawing}, timeout=WATCH)
                if not gone.is_set() and await request.is_disconnected():
                    gone.set()
                    metrics.add("left_total")
            drawn = drawing.result()
            outcome = "left" if drawn is None else "done"
        except ValueError as error:  # padecast.InvalidOption too: the message says what would do
            outcome = "refused"
            raise HTTPException(422, str(error)) from error
        finally:
            gone.set()  # also where the server stops
            metrics.add("requests_total", label=f'outcome="{outcome}"')
        if drawn is None:
            return Response(status_code=499)
        body, media = encode(drawn[0], order.format)
        return Response(body, media_type=media, headers={"X-Padecast": drawn[1]})

    @app.exception_handler(RequestValidationError)
    async def refuse(_: Request, error: RequestValidationError) -> Response:
        metrics.add("requests_total", label='outcome="refused"')
        words = "; ".join(f"{'.'.join(map(str, fault['loc'][1:]))}: {fault['msg']}" for fault in error.errors())
        return JSONResponse({"detail": words}, 422)  # without what was sent, which may be no JSON: infinity

    @app.get("/metrics")
    async def numbers() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")

    return app


def main() -> None:
    """Serve digits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--pipelines", type=int, default=1, help="that draw at a time, with the same weights (1)")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)  # one line a run, of the logger padecast
    studio = Studio(share(zoo.load("digits"), options.pipelines), [zoo.calibration("digits", "hard")])
    print(f"serving on http://127.0.0.1:{options.port}: POST /images, GET /metrics", flush=True)
    uvicorn.run(make_app(studio), port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
