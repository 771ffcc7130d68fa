"""Weights from a calibrated Gram matrix: the best linear prediction there is, and what error feedback pays back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, InvalidOption, Position, Session
from padecast.forecasters import REGISTRY, Forecaster, Lagrange, Pade, Reuse, Taylor, Wiener
from padecast.forecasters.base import pad
from padecast.forecasters.wiener import Matrix
from padecast.policies import Plan

TOTAL = 10
SIZE = 40
STRIDES = tuple((i + 1) / 55 for i in range(TOTAL))  # short first, then long
PLANS = st.lists(st.sampled_from("C."), min_size=TOTAL - 1, max_size=TOTAL - 1).map(lambda rest: "C" + "".join(rest))


def residuals(seed: int, smooth: float = 0.0) -> Tensor:
    """One residual a step, ``(TOTAL, SIZE)``; smoother ones follow one another more closely."""
    draw = torch.randn(TOTAL, SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    for i in range(1, TOTAL):
        draw[i] = smooth * draw[i - 1] + (1 - smooth) * draw[i]
    return draw


def slow_curve() -> Tensor:
    """Residuals on a bend that a few of them cannot follow exactly."""
    time = torch.linspace(0, 1.5, TOTAL, dtype=torch.float64)[:, None]
    rates = torch.arange(1, SIZE + 1, dtype=torch.float64) / SIZE
    return 1 + torch.sin(2 * rates * time + rates) + 0.3 * time**2


def gram_of(sequence: Tensor) -> Matrix:
    return tuple(map(tuple, (sequence @ sequence.T / sequence.shape[1]).tolist()))


def known(plan: str, index: int) -> list[int]:
    """Computed steps before one, newest first."""
    return [i for i in reversed(range(index)) if plan[i] == "C"]


def geometry(steps: list[int], sequence: Tensor | None = None) -> Geometry:
    if sequence is None:
        return Geometry(tuple(steps), tuple(map(float, steps)))
    return Geometry.of(sequence[list(reversed(steps))], list(reversed(steps)))


def at(index: int) -> Position:
    return Position.at(index, TOTAL, strides=STRIDES)


def table(forecaster: Forecaster, plan: str) -> dict[int, Tensor]:
    """What a whole run of a plan is given: weights of every forecast step, newest first."""
    forecast = [i for i in range(TOTAL) if plan[i] == "."]
    return {i: forecaster.weights(geometry(known(plan, i)), at(i)) for i in forecast}


def coherent(forecaster: Forecaster, plan: str, sequence: Tensor) -> float:
    """J1: the mean square of what all forecasts of a run have moved the state astray, together."""
    astray = torch.zeros(SIZE, dtype=torch.float64)
    for i, weights in table(forecaster, plan).items():
        astray += STRIDES[i] * (weights @ sequence[known(plan, i)] - sequence[i])
    return float(astray.square().mean())


@given(PLANS, st.integers(0, 99), st.integers(1, 4), st.sampled_from([0.0, 1e-3, 0.3]), st.sampled_from([0.0, 0.5, 1]))
def test_weights_are_the_least_squares_on_the_residuals_themselves(
    plan: str, seed: int, window: int, ridge: float, feedback: float
) -> None:
    sequence = residuals(seed, smooth=0.5)
    forecaster = Wiener(gram_of(sequence), window, ridge, feedback, plan=plan)
    load = ridge * float(sequence.square().mean()) * SIZE
    debt = torch.zeros(SIZE, dtype=torch.float64)
    for i, weights in table(forecaster, plan).items():
        basis = sequence[known(plan, i)[:window]]
        wanted = sequence[i] - feedback * debt / STRIDES[i]
        rows = torch.cat([basis.T, math.sqrt(load) * torch.eye(len(basis), dtype=torch.float64)])
        right = torch.cat([wanted, torch.zeros(len(basis), dtype=torch.float64)])
        expected = torch.linalg.lstsq(rows, right[:, None]).solution[:, 0]
        torch.testing.assert_close(weights, pad(expected, len(weights)), rtol=1e-7, atol=1e-9)
        debt += STRIDES[i] * (expected @ basis - sequence[i])


@pytest.mark.parametrize(
    "other", [Reuse(), Taylor(1), Taylor(2), Lagrange(1), Lagrange(3), Pade((1, 1)), Pade((2, 1))], ids=repr
)
@given(st.integers(0, 99), st.sets(st.integers(0, TOTAL - 2), min_size=1, max_size=4), st.integers(1, 3))
def test_no_other_weights_have_a_smaller_expected_error(
    other: Forecaster, seed: int, chosen: set[int], ahead: int
) -> None:
    sequence, steps = residuals(seed, smooth=0.8), sorted(chosen, reverse=True)
    index = min(steps[0] + ahead, TOTAL - 1)
    own = Wiener(gram_of(sequence), window=4, ridge=0.0).weights(geometry(steps), at(index))
    theirs = other.weights(geometry(steps, sequence), at(index)).expand(1, -1)[0]

    def error(weights: Tensor) -> float:
        return float((weights @ sequence[steps] - sequence[index]).square().mean())

    assert error(own) <= error(theirs) * (1 + 1e-9)


@pytest.mark.parametrize("plan", ["C...C...C.", "CC..C..C..", "C....C....", "C..C..C..C"])
@pytest.mark.parametrize("constraint", ["none", "sum"])
def test_feedback_keeps_errors_from_adding_up(plan: str, constraint: str) -> None:
    sequence = slow_curve()
    gram = gram_of(sequence)
    plain, paying = (Wiener(gram, 2, 1e-3, f, constraint, plan) for f in (0.0, 1.0))
    assert coherent(paying, plan, sequence) < 0.8 * coherent(plain, plan, sequence)


@given(PLANS, st.integers(0, 99), st.floats(0, 2), st.sampled_from([0.0, 1e-3, 1.0]))
def test_weights_that_must_sum_to_one_do_at_any_feedback(plan: str, seed: int, feedback: float, ridge: float) -> None:
    forecaster = Wiener(gram_of(residuals(seed)), 3, ridge, feedback, "sum", plan)
    assert forecaster.sums_to_one and not Wiener().sums_to_one
    for weights in table(forecaster, plan).values():
        assert float(weights.sum()) == pytest.approx(1, abs=1e-9 * (1 + float(weights.abs().sum())))


def test_of_all_weights_that_sum_to_one_they_are_the_best() -> None:
    sequence, steps = residuals(3, smooth=0.8), [6, 4, 1]
    weights = Wiener(gram_of(sequence), 3, 0.0, constraint="sum").weights(geometry(steps), at(8))
    error = weights @ sequence[steps] - sequence[8]
    for direction in ([1.0, -1.0, 0.0], [0.0, 1.0, -1.0]):  # moving along the constraint gains nothing
        along = torch.tensor(direction, dtype=torch.float64) @ sequence[steps]
        assert float(error @ along) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_a_larger_ridge_shrinks_the_weights(seed: int) -> None:
    gram = gram_of(residuals(seed, smooth=0.8))
    sizes = [
        float(Wiener(gram, 3, ridge).weights(geometry([5, 3, 0]), at(7)).norm()) for ridge in (0, 1e-2, 1, 100, 1e6)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 1e-4 < sizes[0]


@pytest.mark.parametrize("window", [1, 2, 3])
def test_only_the_newest_residuals_of_the_window_are_mixed(window: int) -> None:
    forecaster = Wiener(gram_of(residuals(0)), window, plan="CCCC......")
    weights = forecaster.weights(geometry([3, 2, 1, 0]), at(5))
    assert weights.shape == (4,) and forecaster.window == window
    assert (weights[:window] != 0).all() and (weights[window:] == 0).all()
    fewer = forecaster.weights(geometry([3, 2, 1, 0][:window]), at(5))
    assert torch.equal(fewer, weights[:window])


@given(PLANS, st.integers(0, 99), st.sampled_from([0.0, 1.0]))
def test_a_plan_is_read_from_the_remembered_steps_as_long_as_all_are(plan: str, seed: int, feedback: float) -> None:
    told = Wiener(gram_of(residuals(seed)), 2, feedback=feedback, plan=plan)
    read = Wiener(gram_of(residuals(seed)), 2, feedback=feedback)
    here, there = table(told, plan), table(read, plan)
    assert here.keys() == there.keys()
    for i, weights in here.items():
        torch.testing.assert_close(there[i], weights, rtol=1e-12, atol=1e-12)


def test_a_plan_knows_what_is_owed_from_before_the_oldest_remembered_step() -> None:
    plan = "C..C..C.C."
    told, read = (Wiener(gram_of(slow_curve()), 2, feedback=1.0, plan=p) for p in (plan, ""))
    short = geometry(known(plan, 9)[:2])
    assert torch.equal(told.weights(short, at(9)), told.weights(geometry(known(plan, 9)), at(9))[:2])
    assert not torch.allclose(read.weights(short, at(9)), told.weights(short, at(9)))


@pytest.mark.parametrize("place", [3, 9])
def test_a_step_that_was_planned_and_is_forecast_all_the_same_reads_the_history_before_it(place: int) -> None:
    plan = "C..C.....C"  # a policy may forecast what the plan would have computed
    gram = gram_of(residuals(0))
    weights = Wiener(gram, 2, plan=plan).weights(geometry(known(plan, place)), at(place))
    expected = Wiener(gram, 2).weights(geometry(known(plan, place)), at(place))
    torch.testing.assert_close(weights, expected)


def test_steps_that_do_not_move_the_state_pay_nothing() -> None:
    gram, still = gram_of(slow_curve()), (*STRIDES[:9], 0.0)
    paying, plain = (Wiener(gram, 2, feedback=f, plan="C.........") for f in (1.0, 0.0))
    position = Position.at(9, TOTAL, strides=still)
    assert torch.equal(paying.weights(geometry([0]), position), plain.weights(geometry([0]), position))


def test_strides_make_a_difference_only_to_feedback() -> None:
    gram, steps = gram_of(slow_curve()), [4, 0]
    even = Position.at(6, TOTAL)
    plain, paying = (Wiener(gram, 2, feedback=f, plan="C...C.....") for f in (0.0, 1.0))
    assert torch.equal(plain.weights(geometry(steps), even), plain.weights(geometry(steps), at(6)))
    assert not torch.allclose(paying.weights(geometry(steps), even), paying.weights(geometry(steps), at(6)))
    assert Wiener().needs_stride and not Wiener().needs_gram


@pytest.mark.parametrize("part", ["gram", "plan"])
def test_a_run_of_another_length_is_refused(part: str) -> None:
    given = {"gram": {"gram": gram_of(residuals(0))}, "plan": {"plan": "C" * TOTAL}}[part]
    with pytest.raises(InvalidOption, match=rf"has 12 steps, the Wiener forecaster's {part} has {TOTAL}"):
        Wiener(**given).weights(geometry([3, 0]), Position.at(5, 12))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 0}, "window=0"),
        ({"ridge": -1.0}, "ridge=-1"),
        ({"ridge": math.inf}, "ridge=inf"),
        ({"feedback": -0.1}, "feedback=-0.1"),
        ({"feedback": 2.5}, "feedback=2.5"),
        ({"constraint": "one"}, "constraint='one'"),
        ({"plan": "Cx."}, "plan='Cx.'"),
        ({"gram": ((1.0, 0.0),)}, "gram="),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        Wiener(**options)  # type: ignore[arg-type]


def test_weights_do_not_depend_on_what_was_asked_before() -> None:
    forecaster = Wiener(gram_of(slow_curve()), 2, feedback=1.0, plan="C..C..C...")
    first = [forecaster.weights(geometry(known(forecaster.plan, i)), at(i)).clone() for i in (8, 4)]
    Wiener(gram_of(residuals(1)), 2, feedback=1.0, plan="C..C..C...").weights(geometry([6, 3]), at(8))
    again = [forecaster.weights(geometry(known(forecaster.plan, i)), at(i)) for i in (4, 8)]
    assert torch.equal(again[0], first[1]) and torch.equal(again[1], first[0])


def test_a_caller_who_changes_the_weights_changes_nobody_elses() -> None:
    forecaster = Wiener(gram_of(slow_curve()), 2)
    first = forecaster.weights(geometry([4, 2]), at(6))
    kept = first.clone()
    first.zero_()
    assert torch.equal(forecaster.weights(geometry([4, 2]), at(6)), kept)


def test_it_is_made_by_name() -> None:
    made = REGISTRY.make("wiener:window=2,feedback=1")
    assert made == Wiener(window=2, feedback=1.0)
    assert made.weights(geometry([4, 2, 0]), at(6)).shape == (3,)


@pytest.mark.parametrize("total", [4, 10, 50])
def test_without_a_matrix_residuals_are_taken_to_be_smooth_in_the_step_index(total: int) -> None:
    time = [4 * i / total for i in range(total)]
    matrix = tuple(tuple(1 + s * t + math.exp(-((s - t) ** 2)) for s in time) for t in time)
    position = Position.at(total - 1, total)
    guess = Wiener(window=2).weights(geometry([1, 0]), position)
    torch.testing.assert_close(guess, Wiener(matrix, window=2).weights(geometry([1, 0]), position))


def test_a_session_forecasts_with_the_weights() -> None:
    sequence, plan = slow_curve(), "C..C..C..."
    forecaster = Wiener(gram_of(sequence), 2, feedback=0.5, plan=plan)
    session = Session(Plan(plan), forecaster, TOTAL, strides=STRIDES)
    strides = tuple(s / sum(STRIDES) for s in STRIDES)
    x = torch.ones(1, SIZE, dtype=torch.float64)
    for i in range(TOTAL):
        out = session.step(x, index=i, compute=lambda i=i: x + sequence[i])
        if plan[i] == "C":
            continue
        weights = forecaster.weights(geometry(known(plan, i)[:2]), Position.at(i, TOTAL, strides=strides))
        torch.testing.assert_close(out, x + weights @ sequence[known(plan, i)[:2]])


def test_a_run_that_did_not_follow_the_plan_is_weighed_by_what_it_remembers() -> None:
    gram = gram_of(slow_curve())
    strayed = geometry([3, 0])  # step 2 was planned and is not remembered
    planned = Wiener(gram, 2, plan="C.C" + "." * (len(gram) - 3)).weights(strayed, at(5))
    torch.testing.assert_close(planned, Wiener(gram, 2).weights(strayed, at(5)))
