"""How long a calibration takes is known before."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
import torch
from tests.calibration.tiny import QUICK, STEPS, call_many
from tests.lab.tiny import digits
from tests.tiny import counted
from torch import Tensor

from padecast import calibrate
from padecast.calibration import EFFORTS, Allowance, Effort, Refinement, price


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
    guess = price(effort, [3], range(4), STEPS, 2)
    assert 0.5 < guess / sum(work) < 2


def test_more_of_anything_takes_longer() -> None:
    plain = price("thorough", [8])
    assert plain < price("thorough", [8, 10]) and plain < price("thorough", [8], range(24))
    assert plain < price("thorough", [8], branches=2) and plain > price(QUICK, [8])


@pytest.mark.parametrize("effort", ["quick", "normal"])
def test_three_budgets_never_take_more_than_is_allowed(effort: str) -> None:
    allowance = EFFORTS[effort]
    assert isinstance(allowance, Allowance)
    for steps in (5, 20, 50):
        for budgets in combinations(range(1, steps + 1, 3), 3):
            for samples in (1, 2, 3, 16):
                assert price(effort, budgets, range(samples), steps) <= allowance.images


def test_more_budgets_are_allowed_a_third_more_each() -> None:
    assert price("quick", [6, 7, 8, 9, 10]) <= 25 and price("quick", [8]) < price("quick", [8, 10])


@pytest.mark.parametrize(
    ("steps", "batch"),
    [
        (10, None),
        (10, 3),
        pytest.param(20, None, marks=pytest.mark.slow),
        pytest.param(20, 3, marks=pytest.mark.slow),
        pytest.param(50, 16, marks=pytest.mark.slow),
    ],
    ids=["10 steps", "10 steps, threes", "20 steps", "20 steps, threes", "50 steps, many"],
)
def test_a_quick_calibration_takes_no_more_than_it_says(steps: int, batch: int | None) -> None:
    spent: list[float] = []
    words: list[str] = []

    def call(pipe: Any, seed: int | list[int]) -> Tensor:
        seeds = seed if isinstance(seed, list) else [seed]
        noise = [torch.Generator().manual_seed(s) for s in seeds]
        images: Tensor = pipe([0] * len(seeds), steps, generator=noise, output_type="pt").images
        return images

    def note(what: str, images: float) -> None:
        words.append(what)
        spent.append(images)

    pipe = digits()
    pipe.set_progress_bar_config(disable=True)
    budgets = [round(0.3 * steps), round(0.4 * steps), round(0.5 * steps)]
    with counted(pipe.transformer) as runs:
        calibrate(pipe, call, budgets, batch=batch, progress=note)
    said = price("quick", budgets, steps=steps)
    assert sum(spent) <= said + 1e-9 <= 15
    first = next(word for word in words if "worth" in word)
    assert first.startswith(f"about {said:.0f} images' worth of steps, some") and words.index(first) == 1
    calls = max(runs.values()) / steps
    assert calls <= said and (batch is not None or calls == pytest.approx(sum(spent)))
