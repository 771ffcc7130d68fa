"""How long a calibration takes is known before."""

from __future__ import annotations

import pytest
from tests.calibration.tiny import QUICK, STEPS, call_many
from tests.lab.tiny import digits

from padecast import calibrate
from padecast.calibration import Effort, Refinement, estimate


@pytest.mark.slow
@pytest.mark.parametrize(
    "effort",
    [
        Effort(scouts=2, finalists=2, refinement=Refinement(window=2, steps=2)),
        pytest.param(Effort(scouts=2, finalists=2, moves=0, refined=0), marks=pytest.mark.slow),
    ],
    ids=["refined", "plain"],
)
def test_the_estimate_is_within_a_factor_of_two(effort: Effort) -> None:
    work: list[float] = []
    told = {"progress": lambda _what, steps: work.append(steps)}
    calibrate(digits(), call_many, [3], range(4), batch=2, effort=effort, **told)
    guess = estimate(STEPS, [3], 4, 2, effort)
    assert 0.5 < guess / sum(work) < 2


def test_more_of_anything_takes_longer() -> None:
    plain = estimate(20, [8], 16)
    assert plain < estimate(20, [8, 10], 16) and plain < estimate(20, [8], 24) and plain < estimate(20, [8], 16, 2)
    assert plain > estimate(20, [8], 16, effort=QUICK)
