from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from padecast import Geometry, InvalidOption, Position, Session, policies
from padecast.forecasters import Feedback, Pade, TCPade
from padecast.forecasters.tcpade import confirm

TOTAL = 20


def damped(**options: object) -> TCPade:
    """The damped form alone: no stage rules, no feedback, no hindsight."""
    alone = {"order": (1, 1), "feedback": 0.0, "hindsight": False, "early": None, "late": 0.0, "form": "damped"}
    return TCPade(**{**alone, **options})  # type: ignore[arg-type]


def rough(seed: int = 0, count: int = 4, batch: int = 2) -> Tensor:
    return torch.randn(count, batch, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 999), st.sampled_from([(0, 1), (1, 1), (2, 1), (1, 0)]))
def test_without_damping_it_is_pade(seed: int, order: tuple[int, int]) -> None:
    geometry, at = Geometry.of(rough(seed), [5, 6, 8, 9]), Position.at(11, TOTAL)
    pade = Pade(order, guard=2.0).weights(geometry, at).expand(2, -1)
    torch.testing.assert_close(damped(order=order, guard=2.0, damping=0.0).weights(geometry, at).expand(2, -1), pade)


@given(st.integers(0, 999))
def test_with_strong_damping_it_repeats(seed: int) -> None:
    geometry, at = Geometry.of(rough(seed), [5, 6, 8, 9]), Position.at(11, TOTAL)
    weights = damped(damping=1e6).weights(geometry, at)
    torch.testing.assert_close(weights, torch.eye(4, dtype=torch.float64)[:1].expand(2, -1))


@given(st.integers(0, 999), st.floats(0.1, 20))
def test_damping_moves_every_sample_from_pade_towards_repetition(seed: int, damping: float) -> None:
    geometry, at = Geometry.of(rough(seed), [5, 6, 8, 9]), Position.at(11, TOTAL)
    repeat = torch.eye(4, dtype=torch.float64)[0]
    full = Pade().weights(geometry, at) - repeat
    some = damped(damping=damping, guard=2.0).weights(geometry, at) - repeat
    share = (some * full).sum(1) / full.square().sum(1)
    torch.testing.assert_close(some, share[:, None] * full)
    assert ((share >= 0) & (share <= 1)).all()


def test_a_trajectory_that_hardly_changes_is_trusted_more_than_a_rough_one() -> None:
    start, slope = rough(count=2)
    steps = torch.arange(3.0, dtype=torch.float64)[:, None, None]
    line = start + torch.tensor([[0.001], [1.0]]) * steps * slope
    geometry, at = Geometry.of(line, [6, 7, 8]), Position.at(9, TOTAL)
    share = damped(damping=3.0).weights(geometry, at)[:, 0] - 1  # of linear extrapolation's 2, -1
    assert 0.9 < share[0] < 1 and share[1] < 0.9


@given(st.integers(0, 99), st.floats(0.1, 2), st.integers(9, 13))
def test_feedback_is_that_of_the_damped_form(seed: int, share: float, index: int) -> None:
    geometry, at = Geometry.of(rough(seed), [0, 3, 4, 8]), Position.at(index, TOTAL)
    shared = damped(feedback=share)
    assert torch.equal(shared.weights(geometry, at), Feedback(damped(), share).weights(geometry, at))
    assert shared.window == Feedback(damped(), share).window
    assert torch.equal(shared.weights(geometry, at), damped().weights(geometry, at)) == (index > 9)


@pytest.mark.parametrize("index", [6, 8, 15, 16, 19])
def test_without_stage_rules_the_stage_changes_nothing(index: int) -> None:
    geometry = Geometry.of(rough(), [1, 2, 3, 4])
    here, there = Position.at(index, TOTAL, 9.0), Position.at(10, TOTAL, 9.0)
    assert torch.equal(damped().weights(geometry, here), damped().weights(geometry, there))


def test_the_early_rule_leans_on_the_second_residual_in_the_first_three_tenths() -> None:
    geometry, ruled = Geometry.of(rough(), [0, 1, 2, 3]), damped(early=0.1)
    for index in (4, 5):
        weights = ruled.weights(geometry, Position.at(index, TOTAL)).expand(2, -1)
        assert weights.tolist() == [[0.9, pytest.approx(0.1), 0, 0]] * 2
    later = Position.at(6, TOTAL)
    assert torch.equal(ruled.weights(geometry, later), damped().weights(geometry, later))


def test_the_late_rule_adds_the_last_change_in_the_last_fifth() -> None:
    geometry, ruled = Geometry.of(rough(), [8, 10, 12, 14]), damped(late=0.3)
    before = Position.at(15, TOTAL)
    assert torch.equal(ruled.weights(geometry, before), damped().weights(geometry, before))
    for index in (16, 19):
        at = Position.at(index, TOTAL)
        added = ruled.weights(geometry, at) - damped().weights(geometry, at)
        torch.testing.assert_close(added, torch.tensor([[0.3, -0.3, 0, 0]] * 2, dtype=torch.float64))


# The published form --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option",
    [{"order": (1, 2)}, {"guard": 3.0}, {"damping": 1.0}, {"feedback": 0.0}, {"hindsight": False}, {"early": 0.1}],
)
def test_options_that_the_published_form_ignores_are_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption, match=next(iter(option))):
        TCPade(form="published", **option)


def as_printed(history: list[Tensor], index: int) -> Tensor:
    """The paper's predictor of one sample, newest residual first, with the released stage rules."""
    r1, r2, r3 = history[:3]
    if index < 0.3 * TOTAL:
        return 0.9 * r1 + 0.1 * r2
    sigma = torch.exp(-10 * (r1 - r2).norm() / (r1 + r2).norm())
    rational = (2 * sigma * r1 - sigma * r2) / (1 + sigma / 10 * r3)
    return rational + 0.3 * (r1 - r2) if index >= 0.8 * TOTAL else rational


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_a_published_run_equals_the_printed_formula_element_by_element(dtype: torch.dtype) -> None:
    plan = "CCC..C.C...C..C.C..."
    session = Session(policies.Plan(plan), TCPade(form="published"), total=TOTAL)
    slow = 2 + 0.1 * torch.randn(TOTAL, 2, 3, 4, generator=torch.Generator().manual_seed(0)).cumsum(0)
    residuals, x = slow.to(dtype), torch.zeros(2, 3, 4, dtype=dtype)
    for index, residual in enumerate(residuals):
        out = session.step(x, index=index, compute=lambda residual=residual: residual)
        if plan[index] == ".":
            known = [residuals[i].double() for i in range(index) if plan[i] == "C"][::-1]
            expected = torch.stack([as_printed([r[b] for r in known], index) for b in range(2)])
            torch.testing.assert_close(out, expected.to(dtype))
    assert session.plan == plan


def run(forecaster: TCPade, residuals: Tensor, plan: str) -> Tensor:
    """The residual that is forecast at the last step of a plan."""
    session = Session(policies.Plan(plan), forecaster, total=len(plan))
    x = torch.zeros_like(residuals[0])
    outs = [session.step(x, index=i, compute=lambda i=i: residuals[i]) for i in range(len(plan))]
    assert session.plan == plan
    return outs[-1]


def test_with_fewer_than_three_residuals_the_published_form_repeats() -> None:
    residuals = rough(count=3)
    assert torch.equal(run(TCPade(form="published"), residuals, "CC."), residuals[1])


def growing(scale: float) -> Tensor:
    """A residual that grows by 5 % a step."""
    growth = 1.05 ** torch.arange(10, dtype=torch.float64)
    return scale * growth[:, None, None] * torch.ones(1, 8, dtype=torch.float64)


def test_the_published_form_shrinks_what_it_forecasts() -> None:
    truth = growing(1e-3)
    published, ours = (run(f, truth, "CCCCCCCCC.") for f in (TCPade(form="published"), damped(damping=10.0)))
    # before the late rule adds 0.3 of the change, sigma = exp(-10 / 41) is all that is left of linear extrapolation
    assert (published / truth[9]).max() < 0.85
    assert ((ours / truth[9] > 0.95) & (ours <= truth[9])).all()


def test_the_published_form_depends_on_the_scale_of_the_features() -> None:
    small, large = (run(TCPade(form="published"), growing(scale), "CCCCCCCCC.") / scale for scale in (1e-3, 10.0))
    assert ((small - large).abs() > 0.1 * small).all()
    ours = [run(damped(), growing(scale), "CCCCCCCCC.") / scale for scale in (1e-3, 10.0)]
    torch.testing.assert_close(ours[0], ours[1])


@given(st.integers(0, 999), st.floats(0, 10))
def test_hindsight_trusts_a_line_less_where_it_was_worse_than_repetition(seed: int, damping: float) -> None:
    """Written out: of residuals at steps 9, 8 and 6, the line through the older two says 1.5 R2 - 0.5 R3 at step 9."""
    residuals = rough(seed)
    geometry, at = Geometry.of(residuals, [5, 6, 8, 9]), Position.at(11, TOTAL)
    _, third, second, newest = residuals
    wrong = (newest - (1.5 * second - 0.5 * third)).square().sum(-1)
    share = ((newest - second).square().sum(-1) / wrong).clamp(max=1)
    repeat = torch.eye(4, dtype=torch.float64)[:1]
    plain = damped(damping=damping).weights(geometry, at) - repeat
    wary = damped(damping=damping, hindsight=True).weights(geometry, at) - repeat
    torch.testing.assert_close(wary, share[:, None] * plain)


def test_hindsight_changes_nothing_where_lines_were_better_than_repetition() -> None:
    curve = torch.tensor([[t, t**2] for t in (0.0, 1.0, 2.0, 3.0)], dtype=torch.float64)
    geometry, at = Geometry.of(curve, [0, 1, 2, 3]), Position.at(5, TOTAL)
    assert torch.equal(damped(hindsight=True).weights(geometry, at), damped().weights(geometry, at))


@pytest.mark.parametrize("index", [[3], [3, 5]])
def test_hindsight_needs_three_residuals(index: list[int]) -> None:
    geometry, at = Geometry.of(rough(1, count=len(index)), index), Position.at(7, TOTAL)
    assert torch.equal(damped(hindsight=True).weights(geometry, at), damped().weights(geometry, at))


def test_hindsight_of_a_residual_that_stands_still() -> None:
    geometry, at = Geometry.of(torch.ones(3, 1, 4, dtype=torch.float64), [0, 1, 2]), Position.at(4, TOTAL)
    assert torch.equal(confirm(geometry), torch.ones(1, dtype=torch.float64))
    assert torch.equal(damped(hindsight=True).weights(geometry, at), damped().weights(geometry, at))


@given(st.integers(0, 999), st.sampled_from([1e-2, 1e-4, 1e-6, 1e-8]))
def test_hindsight_is_a_share_even_where_rounding_is_all_that_moved(seed: int, size: float) -> None:
    residuals = 1 + size * rough(seed, count=3, batch=4)
    measured = Geometry.of(residuals, [2, 5, 9])
    assert measured.gram is not None
    rounded = dataclasses.replace(measured, gram=measured.gram.float())
    share = confirm(rounded)
    assert bool(((share >= 0) & (share <= 1)).all()), share
