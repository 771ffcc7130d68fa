"""The rule that spaces steps agrees with plans that searches found on real models, which it was fitted to."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from statistics import fmean

import pytest

from padecast._geometry import Geometry
from padecast._noise import Noise
from padecast._steps import Position, Trace
from padecast.policies import Spaced
from padecast.policies.published import list_published

STEPS = 50
QWEN_SHIFT = math.exp(0.5 + 0.4 * (6889 - 256) / (8192 - 256))
MODELS: dict[str, tuple[int, float, float | None]] = {
    "flux": (16 * 128 * 128, math.exp(1.15), None),
    "qwen": (16 * 166 * 166, QWEN_SHIFT, 0.02),
    "hunyuan": (16 * 17 * 60 * 80, 7.0, None),
    "wan": (16 * 17 * 60 * 104, 5.0, None),
}
"""Numbers of a sample's latents, shift of the schedule, and where it is stretched to end."""
TO_MEAN = 2.9
"""% of the steps from the mean of the searched plans, at most; 2.9 was measured, see docs/plans.md."""

Cell = tuple[str, int]
SEARCHED: dict[Cell, list[tuple[int, ...]]] = defaultdict(list)
for entry in list_published().values():
    kind = entry.name.partition("-")[0]
    if kind in MODELS and entry.steps == STEPS and "as shipped" not in entry.search:
        SEARCHED[kind, entry.plan.nfe].append(entry.plan.indices)


def noise_of_model(model: str) -> Noise:
    """Noise levels of a flow's schedule."""
    size, shift, terminal = MODELS[model]
    levels = [shift * s / (1 + (shift - 1) * s) for s in (1 - index / STEPS for index in range(STEPS))]
    if terminal is not None:
        levels = [1 - (1 - s) * (1 - terminal) / (1 - levels[-1]) for s in levels]
    levels.append(0.0)
    return Noise(tuple(1 - s for s in levels), tuple(levels), size)


def rule(cell: Cell) -> tuple[int, ...]:
    """The steps that the policy itself computes in a run."""
    model, count = cell
    noise, policy = noise_of_model(model), Spaced(every=(STEPS - 1) / (count - 1))
    trace = Trace()
    for index in range(STEPS):
        at = Position.at(index, STEPS, noise=noise)
        trace = trace.then(at, index == 0 or policy.computes(at, trace, Geometry((), ())))
    return tuple(step.at.index for step in trace if step.computed)


def even(cell: Cell) -> tuple[int, ...]:
    return tuple(round(number * (STEPS - 1) / (cell[1] - 1)) for number in range(cell[1]))


def apart(plan: Sequence[float], other: Sequence[float]) -> float:
    """Mean distance of the j-th steps, in % of the number of steps."""
    return 100 * fmean(abs(a - b) for a, b in zip(plan, other, strict=True)) / STEPS


@pytest.fixture(scope="module")
def plans() -> dict[Cell, tuple[int, ...]]:
    return {cell: rule(cell) for cell in SEARCHED}


def test_every_model_was_searched_with_several_numbers() -> None:
    assert {model for model, _ in SEARCHED} == set(MODELS)
    assert len(SEARCHED) == 11 and sum(map(len, SEARCHED.values())) == 23


@pytest.mark.parametrize("cell", SEARCHED, ids=lambda cell: f"{cell[0]}-{cell[1]}")
def test_it_computes_as_many_steps_the_first_and_the_last_among_them(cell: Cell) -> None:
    steps = rule(cell)
    assert len(steps) == cell[1] and (steps[0], steps[-1]) == (0, STEPS - 1)


def test_it_is_close_to_the_mean_of_the_searched_plans(plans: dict[Cell, tuple[int, ...]]) -> None:
    errors = [apart(plans[cell], list(map(fmean, zip(*several, strict=True)))) for cell, several in SEARCHED.items()]
    assert fmean(errors) <= TO_MEAN


def test_it_is_six_times_closer_to_single_plans_than_even_spacing(plans: dict[Cell, tuple[int, ...]]) -> None:
    pairs = [(cell, other) for cell, several in SEARCHED.items() for other in several]
    errors = fmean(apart(plans[cell], other) for cell, other in pairs)
    assert 6 * errors <= fmean(apart(even(cell), other) for cell, other in pairs)


def test_it_disagrees_with_the_searches_no_more_than_they_among_themselves(
    plans: dict[Cell, tuple[int, ...]],
) -> None:
    errors = fmean(apart(plans[cell], other) for cell, several in SEARCHED.items() for other in several)
    assert errors <= fmean(apart(several[0], several[1]) for several in SEARCHED.values())


def test_flux_has_the_plans_that_were_searched_for_it(plans: dict[Cell, tuple[int, ...]]) -> None:
    errors = [apart(plans[cell], other) for cell, several in SEARCHED.items() if cell[0] == "flux" for other in several]
    assert fmean(errors) <= 2.2
