"""What every test starts from: one thread, and property tests that draw the same examples every time."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest
import torch
from hypothesis import settings

torch.set_num_threads(1)

settings.register_profile("padecast", deadline=None, derandomize=True, database=None, max_examples=10)
settings.load_profile("padecast")

REPETITIONS = frozenset((Path(__file__).parent / "repetitions.txt").read_text().splitlines())
"""Cases, a node id each, that take long and repeat what cheaper cases of the same test show: they are marked slow."""


@pytest.fixture(autouse=True)
def _lessons_apart(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what methods learn out of the user's cache folder."""
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path_factory.getbasetemp() / "lessons"))


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
