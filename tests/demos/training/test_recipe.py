"""What every recipe has: learning rates that follow steps or time, and options that are checked."""

from __future__ import annotations

from typing import Any

import pytest
from tests.demos.training.toy import Recipe

from demos.training.recipe import decayed
from padecast._errors import InvalidOption


def test_progress_follows_steps_or_time() -> None:
    assert Recipe(steps=100).progress("tail", 50, 1e9) == 0.5
    assert Recipe(steps=None, minutes=10).progress("tail", 10**9, 600 * 0.375) == pytest.approx(0.5)


def test_the_rate_warms_up_and_decays() -> None:
    recipe = Recipe(steps=100, warmup=50)
    rates = [recipe.rate("tail", 200, progress / 10) for progress in range(11)]
    assert rates == sorted(rates, reverse=True) and rates[0] == recipe.rates[1]
    assert rates[-1] == pytest.approx(0.01 * recipe.rates[1])
    assert recipe.rate("tail", 0, 0.0) == pytest.approx(recipe.rates[1] / 50)
    assert decayed(3.0) == decayed(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"minutes": 0.0},
        {"steps": 0},
        {"shares": (1.0,)},
        {"batches": (0, 1)},
        {"rates": (1e-3, 1e-3, 1e-3)},
        {"warmup": 0},
    ],
)
def test_a_wrong_option_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        Recipe(**wrong)
