from __future__ import annotations

import pytest

from padecast import zoo
from padecast.zoo.digits import DigitsPipeline


@pytest.fixture(scope="session")
def shipped() -> DigitsPipeline:
    """The shipped pipeline; tests leave it as they found it."""
    pipe = zoo.load("digits")
    pipe.set_progress_bar_config(disable=True)
    return pipe
