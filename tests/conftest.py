"""What every test starts from: one thread, and property tests that draw the same examples every time."""

from __future__ import annotations

import contextlib
import gc
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

with contextlib.suppress(ImportError):
    from hypothesis.internal.conjecture import providers

    # It reads numbers to try out of every module of ours and of ComfyUI that is imported by then: seconds in every
    # process, and examples that depend on what ran before.
    providers._get_local_constants = lambda: providers._local_constants
settings.register_profile("padecast", deadline=None, derandomize=True, database=None, max_examples=10)
settings.load_profile("padecast")

REPETITIONS = frozenset((Path(__file__).parent / "repetitions.txt").read_text().splitlines())
"""Cases, a node id each, that take long and repeat what cheaper cases of the same test show: they are marked slow."""


@pytest.fixture(scope="session", autouse=True)
def _lessons_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what methods learn out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PADECAST_LESSONS", str(tmp_path_factory.getbasetemp() / "lessons"))
        yield


def pytest_collection_finish() -> None:
    """Have collections of garbage pass over what is imported: a quarter of a second each, in every run of ComfyUI."""
    gc.collect()
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark repetitions slow.

    Raises:
        UsageError: If a test has several cases, and none of the name that stands there.
    """
    names = defaultdict(set)
    for item in items:
        names[item.nodeid.partition("[")[0]].add(item.nodeid)
        if item.nodeid in REPETITIONS:
            item.add_marker(pytest.mark.slow)
    stale = [name for name in REPETITIONS if len(cases := names[name.partition("[")[0]]) > 1 and name not in cases]
    if stale:
        raise pytest.UsageError(f"tests/repetitions.txt names cases that are no more: {', '.join(sorted(stale))}")
