"""Many requests to the example of a server: results/server-load.json.

    python -m benchmarks.server.load                    # 200 requests: minutes on one core
    python -m benchmarks.server.load --requests 20      # whether it works; nothing is written

Clients ask over HTTP for images of several sizes of batch, numbers of steps, schedules and qualities, eight at a time,
of two pipelines that share their weights. Some leave in the middle, some runs fail, some orders cannot be served. Every
image has to be the one that a pipeline of its own draws, and nothing may be left on the model, in memory or of threads;
otherwise this ends with an error. Memory is read whenever an eighth of the requests is done.
"""

from __future__ import annotations

import argparse
import gc
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import torch
from examples import server
from tests.fuzz.leftovers import bytes_remembered, traces
from tests.integrations import http
from torch import Tensor

import padecast
from benchmarks.common import SETTINGS, Document, hush, progress, provenance, write
from padecast import zoo
from padecast.handles.handle import handles_on

FILE, PIPELINES, CLIENTS, ORDERS = "server-load.json", 2, 8, 24
KINDS = {"served": 0.75, "leaves": 0.12, "fails": 0.08, "refused": 0.05}
FAILING = 1_000_000
"""Orders of larger seeds fail at a step of their run."""
PLACE = threading.local()


class Studio(server.Studio):
    """A studio in which some runs fail: their model raises at a step."""

    def draw(self, pipe: Any, order: server.Order, gone: threading.Event) -> tuple[Tensor, str]:
        """See `server.Studio`."""
        PLACE.left = order.seed % order.steps + 1 if order.seed >= FAILING else -1
        return super().draw(pipe, order, gone)


def fail(*_: Any) -> None:
    """Count down the calls of the model in this thread, and raise at the last."""
    PLACE.left = getattr(PLACE, "left", -1) - 1
    if PLACE.left == 0:
        raise MemoryError("as if there were no room")


def draw_orders(source: random.Random) -> list[dict[str, Any]]:
    """Return different orders that can be served."""
    orders = []
    for seed in range(ORDERS):
        setting = SETTINGS[source.choice(["hard", "easy"])]
        quality = source.choice([{"computed": 6}, {"computed": 8}, {"computed": 10}, {"speedup": 2.5}])
        labels = [source.randrange(10) for _ in range(source.choice([1, 1, 2]))]
        steps = source.choice([10, 12, 20, 20])
        orders.append({"labels": labels, "seed": 20_000 + seed, "steps": steps, **setting, **quality})
    return orders


def draw_alone(order: dict[str, Any], calibrations: Any, otherwise: str) -> Tensor:
    """Return what a pipeline of its own draws."""
    studio = server.Studio([hush(zoo.load("digits"))], calibrations, otherwise)
    images, _ = studio.draw(studio.pipes[0], server.Order(**order), threading.Event())
    return images


class Load:
    """Requests to a server, and what became of them.

    Args:
        client: Asks.
        references: Orders and their images.
    """

    def __init__(self, client: http.Client, references: list[tuple[dict[str, Any], Tensor]]) -> None:
        self.client, self.references = client, references
        self.counts, self.lock = Counter[str](), threading.Lock()
        self.memory: list[Document] = []

    def ask(self, kind: str, number: int, source: random.Random) -> None:
        """Make one request of a kind, and count how it ended."""
        order, reference = source.choice(self.references)
        outcome = kind
        if kind == "leaves":
            connection = self.client.begin(order)
            time.sleep(source.uniform(0, 1))
            connection.close()
        elif kind == "fails":
            outcome += f" {self.client.post(**{**order, 'seed': FAILING + number}).status}"
        elif kind == "refused":
            outcome += f" {self.client.post(**{**order, **source.choice([{'labels': [12]}, {'steps': 0}])}).status}"
        else:
            answer = self.client.post(**order)
            alike = answer.status == 200 and torch.equal(answer.images, reference)
            outcome = "equal" if alike else f"other {answer.status}"
        with self.lock:
            self.counts[outcome] += 1

    def run(self, count: int) -> None:
        """Make all requests, and read the memory in between."""
        source = random.Random(0)
        kinds = [kind for kind, share in KINDS.items() for _ in range(round(share * count))]
        source.shuffle(kinds)
        with progress(len(kinds), "requests") as tell, ThreadPoolExecutor(CLIENTS) as pool:
            part = max(len(kinds) // 8, 1)
            for begin in range(0, len(kinds), part):
                numbered = list(enumerate(kinds))[begin : begin + part]
                jobs = [pool.submit(self.ask, kind, i, random.Random(i)) for i, kind in numbered]
                for job in jobs:
                    job.result()
                    tell("requests")
                self.client.wait("padecast_drawing", 0)
                self.memory.append({"requests": begin + len(numbered), **read_memory()})


def read_memory() -> Document:
    """Return the process's memory in bytes, and how many objects and threads there are."""
    gc.collect()
    size = psutil.Process().memory_info().rss
    return {"bytes": size, "objects": len(gc.get_objects()), "threads": threading.active_count()}


def measure_switch(pipe: Any, calibrations: Any, repeats: int = 50) -> float:
    """Return the median seconds of processor time that switching on and off takes."""
    seconds = []
    for _ in range(repeats):
        begin = time.process_time()
        with padecast.accelerate(pipe, calibrations, computed=8, otherwise="tc-pade"):
            pass
        seconds.append(time.process_time() - begin)
    return sorted(seconds)[repeats // 2]


def measure(count: int) -> Document:
    """Return what became of so many requests.

    Raises:
        SystemExit: If an image differs, or anything is left.
    """
    torch.set_num_threads(1)
    calibrations, otherwise = [zoo.calibration("digits", each) for each in SETTINGS], "tc-pade"
    orders = draw_orders(random.Random(0))
    references = [(order, draw_alone(order, calibrations, otherwise)) for order in orders]
    pipe = zoo.load("digits")
    studio = Studio(server.share(pipe, PIPELINES), calibrations, otherwise)
    switch = measure_switch(pipe, calibrations)
    hook = pipe.transformer.register_forward_pre_hook(fail)
    threads, begin, work = threading.active_count(), time.monotonic(), time.process_time()
    with http.serve(server.make_app(studio), log="critical") as client:
        load = Load(client, references)
        load.run(count)
        numbers = client.numbers()
    wall, work = time.monotonic() - begin, time.process_time() - work
    hook.remove()
    gc.collect()
    left = {
        "on the model": traces(pipe.transformer),
        "handles": [repr(handle) for handle in handles_on()],
        "bytes of histories": bytes_remembered(),
        "threads": threading.active_count() - threads,
    }
    document = {
        "requests": sum(load.counts.values()),
        "orders": len(orders),
        "pipelines": PIPELINES,
        "clients": CLIENTS,
        "outcomes": dict(sorted(load.counts.items())),
        "metrics": numbers,
        "left": left,
        "memory": load.memory,
        "switch_seconds": switch,
        "wall_seconds": wall,
        "processor_seconds": work,
        "provenance": provenance(pipe),
    }
    if any(left.values()) or set(load.counts) - {"equal", "leaves", "fails 500", "refused 422"}:
        raise SystemExit(f"not as alone, or something is left: {document['outcomes']}, {left}")
    return document


def main() -> None:
    """Make the requests."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--requests", type=int, default=200, help="how many; fewer are not written (200)")
    count = parser.parse_args().requests
    document = measure(count)
    if count >= 200:
        write(FILE, document)
    else:
        print(document)


if __name__ == "__main__":
    main()
