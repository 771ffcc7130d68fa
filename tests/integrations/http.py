"""A server in a thread of this process, and a client that may leave in the middle: real requests over a socket."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

PATIENCE = 600  # seconds after which what is waited for is taken for lost


@dataclass(frozen=True)
class Answer:
    """What a server returned."""

    status: int
    report: str
    body: bytes

    @property
    def images(self) -> Tensor:
        """The images of an answer in numpy's format."""
        return torch.from_numpy(np.load(io.BytesIO(self.body)))


@dataclass(frozen=True)
class Client:
    """Asks a server of this machine."""

    port: int

    def begin(self, order: dict[str, Any]) -> http.client.HTTPConnection:
        """Send a request and do not wait; close what is returned to leave."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        body = json.dumps({"format": "npy", **order})
        connection.request("POST", "/images", body, {"content-type": "application/json"})
        return connection

    def post(self, **order: Any) -> Answer:
        """Ask for images and wait for them."""
        return read(self.begin(order))

    def numbers(self) -> dict[str, float]:
        """Return the metrics by name and label."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.request("GET", "/metrics")
        lines = read(connection).body.decode().splitlines()
        return {key: float(value) for key, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def wait(self, name: str, value: float) -> None:
        """Wait until a number of the metrics is as large as told."""
        end = time.monotonic() + PATIENCE
        while self.numbers().get(name, 0) != value:
            assert time.monotonic() < end, f"{name} is {self.numbers().get(name, 0)}, not {value}"
            time.sleep(0.01)


def read(connection: http.client.HTTPConnection) -> Answer:
    """Wait for an answer."""
    try:
        answer = connection.getresponse()
        return Answer(answer.status, answer.headers.get("X-Padecast", ""), answer.read())
    finally:
        connection.close()


@contextlib.contextmanager
def serve(app: Any, log: str = "error") -> Iterator[Client]:
    """Serve an application on a free port inside the block."""
    import uvicorn

    config = uvicorn.Config(app, port=0, log_level=log, ws="none", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        yield Client(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(PATIENCE)
        assert not thread.is_alive()
