from __future__ import annotations

import pytest
from tests.lab.tiny import digits

from padecast.lab import Sampling, Task
from padecast.zoo.digits import DigitsPipeline


@pytest.fixture(scope="session")
def pipe() -> DigitsPipeline:
    """Tests leave it as they found it."""
    return digits()


@pytest.fixture(scope="session")
def task(pipe: DigitsPipeline) -> Task:
    return Task(pipe, Sampling(guidance=3.0, shift=2.0), steps=10, seeds=(0, 1, 2, 3), batch=2, name="tiny")
