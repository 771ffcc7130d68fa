"""The tests of this folder run ComfyUI's own engine; without it they are skipped, or fail where it is demanded.

But for those of the pack's files, which need none, and those that run its server in a process of its own.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests.comfy import engine, models, serve

HERE, APART, SERVED = Path(__file__).parent, ("test_pack.py",), ("test_server.py", "test_browser.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE not in item.path.parents or item.path.name in APART:
            continue
        item.add_marker(pytest.mark.comfy_server if item.path.name in SERVED else pytest.mark.comfy)


@pytest.fixture(autouse=True)
def _engine(request: pytest.FixtureRequest) -> None:
    if request.path.name not in (*APART, *SERVED):
        request.getfixturevalue("comfy")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[serve.Server]:
    """ComfyUI's server, with the pack copied into its folder of nodes."""
    serve.demand()
    folder = tmp_path_factory.mktemp("comfyui")
    serve.prepare(folder)
    with serve.serve(folder) as running:
        yield running


@pytest.fixture(scope="session")
def comfy() -> Iterator[Any]:
    """ComfyUI's modules."""
    modules = engine.load()
    gc.collect()
    gc.freeze()  # it collects garbage in every run, and need not look through all that it imports
    yield modules
    # Models that are left for the end of the process find their own modules gone.
    _build.cache_clear()
    gc.collect()


@cache
def _build(name: str) -> Any:
    return models.build(models.KINDS[name])


@pytest.fixture(scope="session")
def build() -> Callable[[str], Any]:
    """A tiny model by its name; what is attached goes on clones of it."""
    return _build


@pytest.fixture(scope="session")
def flux() -> Any:
    return _build("flux")
