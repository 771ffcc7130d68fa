"""What Ray loses is done again, and what workers have is kept: played with a Ray that loses what a test says."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from padecast import PadecastError
from padecast.integrations.ray import Cluster, Worker, _Work
from padecast.lab.shelf import Shelf


class RayError(Exception):
    """All that Ray raises."""


class RayActorError(RayError):
    """A worker died."""


class RayTaskError(RayError):
    """What a task raised, with its cause."""

    def __init__(self, cause: Exception) -> None:
        self.cause = cause


def error_of(name: str, base: type[Exception] = RayError) -> type[Exception]:
    return type(name, (base,), {})


LOSSES = (
    "ObjectLostError",
    "OwnerDiedError",
    "OutOfMemoryError",
    "NodeDiedError",
    "LocalRayletDiedError",
    "WorkerCrashedError",
    "RaySystemError",
    "ObjectFetchTimedOutError",
    "ReferenceCountingAssertionError",
)


class Reference:
    """What stands for the result of a cell."""

    def __init__(self, cell: Any) -> None:
        self.cell = cell


class Played:
    """A cluster of this process: ``fate`` is asked at every result what becomes of it."""

    def __init__(self, fate: Callable[[int, str], Exception | dict[str, Any]], waits: list[Exception] | None = None):
        self.fate, self.waits, self.got, self.workers = fate, waits or [], 0, 0
        names = {"RayError": RayError, "RayActorError": RayActorError, "RayTaskError": RayTaskError}
        self.exceptions = SimpleNamespace(**names)

    def remote(self, _kind: Any) -> Any:
        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=self._worker))

    def _worker(self, *_: Any) -> Any:
        self.workers += 1
        return SimpleNamespace(do=SimpleNamespace(remote=Reference))

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0}

    def wait(self, given: list[Any], num_returns: int, timeout: float | None = None) -> tuple[list[Any], list[Any]]:
        if self.waits and timeout is None:
            raise self.waits.pop(0)
        return given[:num_returns], given[num_returns:]

    def get(self, reference: Any) -> dict[str, Any]:
        self.got += 1
        given = self.fate(self.got, reference.cell.name)
        if isinstance(given, BaseException):
            raise given
        return given


@pytest.fixture
def put(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells that were written."""
    names: list[str] = []
    monkeypatch.setattr(Shelf, "put", lambda self, cell, document: names.append(cell.name))
    return names


def work(ray: Played, count: int = 3, workers: int = 2, tries: int = 3) -> _Work:
    cells: Any = [SimpleNamespace(file=f"{i}.json", name=f"cell {i}") for i in range(count)]
    return _Work(ray, cells, Shelf(Path("nowhere")), None, Cluster(workers=workers, tries=tries), None)  # type: ignore[arg-type]


@pytest.mark.fault("what Ray loses")
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("at", [1, 2, 3])
def test_what_ray_loses_once_is_done_again(name: str, at: int, put: list[str]) -> None:
    ray = Played(lambda count, _: error_of(name)("gone") if count == at else {"fine": True})
    assert work(ray).done() == []
    assert sorted(put) == ["cell 0", "cell 1", "cell 2"] and ray.workers == 2


@pytest.mark.fault("what Ray loses")
@pytest.mark.parametrize("name", LOSSES)
def test_what_ray_always_loses_is_told_and_the_others_are_kept(name: str, put: list[str]) -> None:
    ray = Played(lambda _, cell: error_of(name)("gone") if cell == "cell 1" else {"fine": True})
    (line,) = work(ray).done()
    assert sorted(put) == ["cell 0", "cell 2"] and line.startswith("cell 1: Ray lost it") and "3 times" in line


@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_worker_that_dies_is_replaced(at: int, put: list[str]) -> None:
    ray = Played(lambda count, _: RayActorError("dead") if count == at else {"fine": True})
    assert work(ray).done() == [] and len(put) == 3 and ray.workers == 3


def test_a_cells_own_exception_is_told_and_not_tried_again(put: list[str]) -> None:
    ray = Played(lambda _, cell: RayTaskError(ValueError("too small")) if cell == "cell 1" else {"fine": True})
    assert work(ray).done() == ["cell 1: too small"] and len(put) == 2 and ray.got == 3


@pytest.mark.fault("what Ray loses")
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", ["RaySystemError", "LocalRayletDiedError"])
def test_waiting_is_tried_again(name: str, count: int, put: list[str]) -> None:
    ray = Played(lambda *_: {"fine": True}, [error_of(name)("busy")] * count)
    assert work(ray).done() == [] and len(put) == 3


@pytest.mark.fault("what Ray loses")
@pytest.mark.parametrize("name", ["RaySystemError", "LocalRayletDiedError"])
def test_a_cluster_that_is_gone_is_said_and_what_is_done_is_kept(name: str, put: list[str]) -> None:
    ray = Played(lambda *_: {"fine": True}, [error_of(name)("gone")] * 9)
    with pytest.raises(PadecastError, match="Ray cluster is gone"):
        work(ray).done()
    assert sorted(put) == ["cell 0", "cell 1"]


@pytest.mark.fault("what Ray loses")
@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(3), RuntimeError("a fault of ours")])
@pytest.mark.parametrize("at", [1, 2])
def test_whatever_ends_the_experiment_what_workers_have_is_kept(end: BaseException, at: int, put: list[str]) -> None:
    ray = Played(lambda count, _: end if count == at else {"fine": True})  # type: ignore[arg-type,return-value]
    with pytest.raises(type(end)):
        work(ray, workers=3).done()
    assert sorted(put) == ["cell 0", "cell 1", "cell 2"]


@pytest.mark.fault("full disks on machines")
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_worker_whose_disk_is_full_says_so(number: int, wrapped: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(number, "No room")

    def fails(*_: Any) -> Any:
        if wrapped:
            raise RuntimeError("cannot save") from full
        raise full

    monkeypatch.setattr("padecast.integrations.ray.run", fails)
    assert "No room" in str(Worker(lambda _: None, 1).do(None)) or wrapped  # type: ignore[arg-type]
    assert set(Worker(lambda _: None, 1).do(None)) == {"full"}  # type: ignore[arg-type]


@pytest.mark.fault("full disks on machines")
@pytest.mark.parametrize("at", [1, 2, 3])
def test_a_full_disk_of_a_worker_ends_the_experiment_and_the_others_are_kept(at: int, put: list[str]) -> None:
    ray = Played(lambda count, _: {"full": "No space left on device"} if count == at else {"fine": True})
    with pytest.raises(OSError, match="disk is full"):
        work(ray, count=9, workers=3).done()
    assert len(put) >= 2 and ray.got <= at + 3


@pytest.mark.fault("full disks on machines")
def test_a_full_disk_here_ends_the_experiment_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Shelf, "put", full)
    ray = Played(lambda *_: {"fine": True})
    with pytest.raises(OSError, match="No space"):
        work(ray, count=50).done()
    assert ray.got <= 4
