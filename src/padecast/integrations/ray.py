"""The cells of an experiment on many machines, by Ray: one worker per GPU, and a lost worker loses nothing.

Needs ``padecast-lab[ray]``. A cell goes to the next worker that is free; what it returns is written by the process
that asked, at once. When a worker dies, its cell goes to another one, and a new worker takes its place; when Ray loses
a node or an object, the cell is done again. Whatever ends the experiment, what workers have by then is written first.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from padecast._errors import PadecastError, UnwritableFile, check, missing
from padecast.files import is_full
from padecast.lab.cells import Cell, run
from padecast.lab.experiment import Source
from padecast.lab.shelf import Shelf
from padecast.methods.plugins import load_plugin

Load = Callable[[Source], Any]
Told = Callable[[Cell], None]


@dataclass(frozen=True)
class Cluster:
    """Which Ray cluster, and how many workers.

    Args:
        address: As ``ray.init`` takes it, such as ``"auto"`` or ``"ray://host:10001"``; a local one unless given.
        workers: How many, at most one per GPU (or its share); by default so many, or one per two CPUs without any.
        gpus: Of every worker; by default 1 where the cluster has any.
        tries: How often a cell is given to a worker before it counts as failed, at least 1. Default 3.

    Raises:
        InvalidOption: If a number is out of range.
    """

    address: str | None = None
    workers: int | None = None
    gpus: float | None = None
    tries: int = 3

    def __post_init__(self) -> None:
        check(self.workers is None or self.workers >= 1, "workers", self.workers, "1 or more")
        check(self.gpus is None or self.gpus >= 0, "gpus", self.gpus, "0 or more")
        check(self.tries >= 1, "tries", self.tries, "1 or more")


class LostCluster(PadecastError, ConnectionError):
    """A Ray cluster that no longer answers."""


class Worker:
    """Does cells, and keeps the pipeline of the latest one."""

    def __init__(self, load: Load, threads: int, plugins: Sequence[str] = ()) -> None:
        self._load = lru_cache(maxsize=1)(load)
        torch.set_num_threads(threads)
        for plugin in plugins:  # what they register is known in the process that ran them alone
            load_plugin(plugin)

    def do(self, cell: Cell) -> dict[str, Any]:
        """Do one cell; what cannot be done comes back as an error in words, and so does a disk that is full."""
        try:
            return run(cell, self._load)
        except PadecastError as error:
            return {"full" if is_full(error) else "error": str(error)}
        except Exception as error:
            if is_full(error):
                return {"full": f"{type(error).__name__}: {error}"}
            raise


def do(
    cells: Iterable[Cell],
    shelf: Shelf,
    load: Load,
    cluster: Cluster = Cluster(),
    progress: Told | None = None,
    plugins: Sequence[str] = (),
) -> list[str]:
    """Do cells on a Ray cluster, and write each as it comes.

    Args:
        cells: Which; in any order.
        shelf: Where finished ones go.
        load: Returns a cell's pipeline, on a worker; it must pickle.
        cluster: Where.
        progress: Told of every cell that was written.
        plugins: Files or modules that every worker runs first; the files must lie at the same place there.

    Returns:
        A line for each cell that failed.

    Raises:
        MissingPackage: If Ray is not installed.
        UnwritableFile: If a disk is full, here or at a worker.
        LostCluster: If the cluster itself is gone.
    """
    try:
        import ray
    except ModuleNotFoundError as error:
        raise missing("ray", "padecast-lab[ray]", "an experiment on many machines") from error
    ours = not ray.is_initialized()
    if ours:
        ray.init(address=cluster.address, log_to_driver=False, include_dashboard=False, configure_logging=False)
    try:
        return _Work(ray, list(cells), shelf, load, cluster, progress, tuple(plugins)).done()
    finally:
        if ours:
            ray.shutdown()


@dataclass
class _Work:
    """Cells that wait, and cells that workers have."""

    ray: Any
    cells: list[Cell]
    shelf: Shelf
    load: Load
    cluster: Cluster
    progress: Told | None
    plugins: tuple[str, ...] = ()
    tried: dict[str, int] = field(default_factory=dict)
    jobs: dict[Any, tuple[Any, Cell]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def done(self) -> list[str]:
        """Do all of them."""
        waiting = deque(self.cells)
        free = [self._worker() for _ in range(min(self._workers(), len(waiting)))]
        try:
            while waiting or self.jobs:
                while waiting and free:
                    self._give(free.pop(), waiting.popleft())
                for ready in self._wait():
                    free.append(self._receive(*self.jobs[ready], ready, waiting))
                    del self.jobs[ready]  # only now: an interrupt before it finds the result again
        except BaseException:
            self._save_others()
            raise
        return self.failures

    def _wait(self) -> list[Any]:
        """Wait until a cell is done, or lost."""
        for _ in range(self.cluster.tries):
            try:
                ready, _others = self.ray.wait(list(self.jobs), num_returns=1)
                return list(ready)
            except self.ray.exceptions.RayError as error:
                lost = error
        raise LostCluster(
            f"the Ray cluster is gone: {type(lost).__name__}: {lost}\n"
            "What was finished is written: the same command goes on from there."
        ) from lost

    def _receive(self, worker: Any, cell: Cell, ready: Any, waiting: deque[Cell]) -> Any:
        """Take what a worker returns, or let its cell wait again; returns the worker that is free now."""
        errors = self.ray.exceptions
        try:
            document = self.ray.get(ready)
        except errors.RayTaskError as error:  # the cell's own
            self.failures.append(f"{cell.name}: {getattr(error, 'cause', None) or error}")
        except errors.RayError as error:  # Ray's: a worker, a node or an object is lost, and the cell with it
            died = isinstance(error, errors.RayActorError)
            if self.tried[cell.file] < self.cluster.tries:
                waiting.append(cell)
            else:
                what = "its worker died" if died else f"Ray lost it ({type(error).__name__})"
                self.failures.append(f"{cell.name}: {what} {self.tried[cell.file]} times")
            # A worker that Ray has not called dead may hold a GPU, which a new one would wait for: it is asked again.
            return self._worker() if died else worker
        else:
            self._take(cell, document)
        return worker

    def _save_others(self) -> None:
        """Write what workers have finished by now, whatever ends the experiment."""
        with contextlib.suppress(Exception):
            ready, _ = self.ray.wait(list(self.jobs), num_returns=len(self.jobs), timeout=0)
            for reference in ready:
                _worker, cell = self.jobs.pop(reference)
                with contextlib.suppress(Exception):
                    self._take(cell, self.ray.get(reference))

    def _give(self, worker: Any, cell: Cell) -> None:
        self.tried[cell.file] = self.tried.get(cell.file, 0) + 1
        self.jobs[worker.do.remote(cell)] = worker, cell

    def _take(self, cell: Cell, document: dict[str, Any]) -> None:
        if "full" in document:
            raise UnwritableFile(f"a worker's disk is full: {document['full']}\nMake room there.")
        if "error" in document:
            self.failures.append(f"{cell.name}: {document['error']}")
            return
        self.shelf.put(cell, document)
        if self.progress is not None:
            self.progress(cell)

    def _worker(self) -> Any:
        share = self._resource("CPU") / self._workers()  # never more than all workers can have at once
        options = {"num_cpus": min(share, 1.0 if self._gpus() else 2.0), "num_gpus": self._gpus()}
        return self.ray.remote(Worker).options(**options).remote(self.load, max(1, int(share)), self.plugins)

    def _workers(self) -> int:
        gpus, count = self._gpus(), self.cluster.workers
        if gpus:
            most = max(1, int(self._resource("GPU") / gpus))
            return most if count is None else min(count, most)
        return max(1, int(self._resource("CPU")) // 2) if count is None else count

    def _gpus(self) -> float:
        return min(1.0, self._resource("GPU")) if self.cluster.gpus is None else self.cluster.gpus

    def _resource(self, name: str) -> float:
        return float(self.ray.cluster_resources().get(name, 0))
