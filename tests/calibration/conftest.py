from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.calibration.tiny import CASES, FITTING, Case, call_digits, sparing
from tests.lab.tiny import digits

from padecast import Calibration, calibrate


@pytest.fixture(params=[pytest.param(CASES[0], marks=pytest.mark.slow), *CASES[1:]], ids=str)  # the third is a DiT too
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture(scope="session")
def made() -> Calibration:
    """Of the tiny digits pipeline, with two budgets and fitted weights; tests leave it as it is."""
    with sparing():
        return calibrate(digits(), call_digits, [2, 4], range(3), effort=FITTING, name="tiny")


@pytest.fixture(name="sparing", scope="module")
def _sparing() -> Iterator[None]:
    """Calibrations that try little."""
    with sparing():
        yield
