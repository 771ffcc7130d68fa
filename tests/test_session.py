from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from padecast import FeatureChanged, InvalidOption, InvalidPlan, Position, Session, forecasters, policies
from padecast.forecasters import Chebyshev, Forecaster, Lagrange, Oracle, Pade, Reuse, Taylor, TCPade
from padecast.policies import Always, Interval, Plan, Policy, Stability, Tolerance
from padecast.session.record import NOTES

PLAN = "CCC..C..C.."
STEPS = len(PLAN)


def features(seed: int = 0, batch: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    """Inputs of the stack at every step, ``(STEPS, batch, 3, 4)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(STEPS, batch, 3, 4, dtype=torch.float64, generator=generator).to(dtype)


def line(index: int, slope: float = 0.25) -> float:
    """A residual that a linear forecast gets exactly, also in binary."""
    return 1.0 + slope * index


def drive(
    session: Session,
    xs: Tensor,
    stack: Callable[[Tensor, int], Tensor] = lambda x, i: x + line(i),
    start: int = 0,
    branch: str = "",
) -> list[Tensor]:
    """Run a whole schedule and return what the session did at every step."""
    return [
        session.step(xs[i], index=i, branch=branch, compute=lambda i=i: stack(xs[i], i)) for i in range(start, len(xs))
    ]


def never() -> Tensor:
    raise AssertionError("the stack was run at a forecast step")


def notes(session: Session) -> dict[int, dict[str, str]]:
    return {record.at.index: record.notes for record in session.records if record.notes}


# A run ---------------------------------------------------------------------------------------------------------------


def test_forecast_steps_do_not_run_the_stack_and_add_the_forecast_to_the_current_input() -> None:
    session, xs = Session(Plan(PLAN), Lagrange(1), STEPS), features()
    for index, x in enumerate(xs):
        compute = never if PLAN[index] == "." else (lambda x=x, index=index: x + line(index))
        torch.testing.assert_close(session.step(x, index=index, compute=compute), x + line(index))
    assert session.plan == PLAN and not notes(session)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("forecaster", [Reuse(), Lagrange(2), Pade(), TCPade(), Chebyshev(), Taylor(2), Oracle()])
def test_computed_steps_are_the_stacks_own_output_bit_by_bit(forecaster: Forecaster, dtype: torch.dtype) -> None:
    xs = features(dtype=dtype)
    layer = nn.Linear(4, 4, dtype=dtype)
    with torch.no_grad():
        outs = drive(Session(Always(), forecaster, STEPS), xs, lambda x, i: layer(x))
        assert all(torch.equal(out, layer(x)) for out, x in zip(outs, xs, strict=True))
        session = Session(Plan(PLAN), forecaster, STEPS)
        outs = drive(session, xs, lambda x, i: layer(x))
    for letter, out, x in zip(PLAN, outs, xs, strict=True):
        assert out.dtype == dtype and (letter == "." or torch.equal(out, layer(x)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_forecasts_are_right_within_the_rounding_of_the_features(dtype: torch.dtype) -> None:
    xs = features(dtype=dtype)
    for out, x, index in zip(drive(Session(Plan(PLAN), Lagrange(1), STEPS), xs), xs, range(STEPS), strict=True):
        # the residual is rounded where output and input nearly cancel
        bound = 4 * torch.finfo(dtype).eps * (line(index) + x.abs().max())
        torch.testing.assert_close(out, x + line(index), rtol=0, atol=float(bound))


def test_the_oracle_equals_the_untouched_run_within_rounding() -> None:
    xs, stack = features(), nn.Linear(4, 4, dtype=torch.float64)
    with torch.no_grad():
        session = Session(Plan(PLAN), Oracle(), STEPS)
        for out, x in zip(drive(session, xs, lambda x, i: stack(x)), xs, strict=True):
            torch.testing.assert_close(out, stack(x))
    assert session.plan == PLAN


def test_forecasts_may_be_made_over_another_time_than_the_step_index() -> None:
    times = [1.0 - (i / STEPS) ** 2 for i in range(STEPS)]
    session = Session(Plan(PLAN), Lagrange(1), STEPS)
    for index, x in enumerate(features()):
        out = session.step(x, index=index, time=times[index], compute=lambda x=x, index=index: x + 3 * times[index])
        torch.testing.assert_close(out, x + 3 * times[index])


def test_inputs_are_not_modified() -> None:
    xs = features()
    before = xs.clone()
    drive(Session(Plan(PLAN), Pade(), STEPS), xs)
    assert torch.equal(xs, before)


@given(st.text("C.", max_size=12), st.integers(0, 8))
def test_a_plan_is_followed_from_wherever_the_run_starts(tail: str, start: int) -> None:
    total = start + 1 + len(tail)
    session = Session(Plan("C" * (start + 1) + tail), Reuse(), total)
    drive(session, torch.zeros(total, 1, 2), start=start)
    assert session.plan == " " * start + "C" + tail
    assert [record.at.index for record in session.records] == list(range(start, total))


def test_steps_that_are_left_out_are_blank_in_the_plan() -> None:
    session = Session(Interval(every=2), Reuse(), total=8)
    for index in (0, 3, 6):
        session.step(torch.zeros(1, 2), index=index, compute=lambda: torch.ones(1, 2))
    assert session.plan == "C  .  C"


# Branches ------------------------------------------------------------------------------------------------------------


def test_branches_do_not_mix() -> None:
    session, xs = Session(Plan(PLAN), Lagrange(1), STEPS), features()
    slopes = {"cond": 0.25, "uncond": -100.0, "image": 0.0}
    for index, x in enumerate(xs):
        for branch, slope in slopes.items():

            def stack(x: Tensor = x, index: int = index, slope: float = slope) -> Tensor:
                assert PLAN[index] == "C"
                return x + line(index, slope)

            out = session.step(x, index=index, branch=branch, compute=stack)
            torch.testing.assert_close(out, x + line(index, slope))
    assert len(session.records) == STEPS and session.plan == PLAN
    assert list(session.records[-1].weights) == list(slopes)


class Asked(Policy):
    """Forecasts every other step and counts how often it is asked."""

    count = 0

    def computes(self, *arguments: object) -> bool:
        Asked.count += 1
        return Asked.count % 2 == 0


def test_the_policy_is_asked_once_per_step_for_all_branches() -> None:
    Asked.count = 0
    session = Session(Asked(), Reuse(), total=6)
    for index in range(6):
        for branch in ("cond", "uncond"):
            session.step(torch.zeros(1, 2), index=index, branch=branch, compute=lambda: torch.ones(1, 2))
    assert Asked.count == 5 and session.plan == "C.C.C."


@pytest.mark.parametrize("first", ["straight", "turning"])
def test_a_shared_decision_sees_the_samples_of_every_branch(first: str) -> None:
    second = "turning" if first == "straight" else "straight"
    session = Session(Stability(1.0, every=9), Reuse(), total=4)
    for index in range(4):
        for branch in (first, second):
            value = float(index) if branch == "straight" else float(index % 2)
            session.step(torch.zeros(1, 2), index=index, branch=branch, compute=lambda v=value: torch.full((1, 2), v))
    assert session.plan == "CCCC"


def test_a_branch_that_went_silent_does_not_decide() -> None:
    session = Session(Stability(1.0, every=99), Reuse(), total=12)
    for index in range(12):
        value = float(index % 2) if index < 4 else float(index)  # turns, then goes straight
        for branch in ("uncond", "cond") if index < 4 else ("cond",):
            x = torch.zeros(1, 2)
            session.step(x, index=index, branch=branch, compute=lambda v=value: torch.full((1, 2), v))
    assert session.plan.startswith("CCCC") and "." in session.plan


def test_a_branch_that_comes_later_is_computed_until_it_remembers_something() -> None:
    session, x = Session(Plan("CC...C.."), Lagrange(1), total=8), torch.zeros(1, 2)
    ran: list[tuple[str, int]] = []
    for index in range(8):
        for branch in ("cond", "uncond") if index >= 3 else ("cond",):

            def stack(branch: str = branch, index: int = index) -> Tensor:
                ran.append((branch, index))
                return x + line(index)

            out = session.step(x, index=index, branch=branch, compute=stack)
            if index != 4 or branch == "cond":  # at 4 one residual is known, and repeated
                torch.testing.assert_close(out, x + line(index))
    assert [index for branch, index in ran if branch == "cond"] == [0, 1, 5]
    assert [index for branch, index in ran if branch == "uncond"] == [3, 5]
    assert notes(session) == {3: {"uncond": "no history"}} and session.plan == "CC...C.."


def test_a_branch_that_missed_the_last_computed_step_is_computed() -> None:
    session, x = Session(Plan("CC.C.C.."), Lagrange(1), total=8), torch.zeros(1, 2)
    for index in range(8):
        for branch in ("cond", "uncond") if index not in (3, 4, 5) else ("cond",):
            out = session.step(x, index=index, branch=branch, compute=lambda index=index: x + line(index))
            torch.testing.assert_close(out, x + line(index))
    assert notes(session) == {6: {"uncond": "stale"}} and session.plan == "CC.C.C.."


def test_a_step_that_no_branch_could_forecast_counts_as_computed() -> None:
    session = Session(Plan("CC..."), Reuse(), total=5)
    for index in range(5):
        size = 2 if index < 3 else 4  # the features grow at step 3
        x = torch.zeros(1, size)
        for branch in ("cond", "uncond"):
            session.step(x, index=index, branch=branch, compute=lambda x=x: x + 1)
    assert session.plan == "CC.C."
    assert notes(session) == {3: {"cond": "changed"}}  # then the step is computed, for the other branch too


# Run boundaries ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stopped", [1, 3, STEPS])
def test_an_index_that_goes_back_starts_a_run_that_knows_nothing_of_the_last(stopped: int) -> None:
    session, fresh = (Session(Plan(PLAN), Pade(), STEPS) for _ in range(2))
    drive(session, features(seed=1)[: max(stopped, 2)], lambda x, i: x * 7 - 3)
    xs = features(seed=2)
    outs, expected = (drive(s, xs, lambda x, i: x.sin()) for s in (session, fresh))
    assert all(torch.equal(a, b) for a, b in zip(outs, expected, strict=True))
    assert session.plan == fresh.plan == PLAN and len(session.records) == STEPS


def test_a_run_may_have_another_batch_size_and_dtype_than_the_last() -> None:
    session = Session(Plan(PLAN), Lagrange(1), STEPS)
    for batch, dtype in ((2, torch.float64), (5, torch.float64), (1, torch.float32)):
        xs = features(batch=batch, dtype=dtype)
        outs = drive(session, xs)
        torch.testing.assert_close(outs[-1], xs[-1] + line(STEPS - 1))
        assert not notes(session) and outs[-1].dtype == dtype


def test_reset_forgets_everything() -> None:
    session = Session(Plan("C.."), Reuse(), total=3)
    drive(session, torch.zeros(2, 1, 2))
    session.reset()
    assert session.plan == "" and session.records == []
    session.step(torch.zeros(1, 2), index=1, compute=lambda: torch.ones(1, 2))
    assert session.plan == " C"


def test_forget_frees_the_history_and_keeps_the_records() -> None:
    session = Session(Plan("CCC."), Lagrange(2), total=4)
    drive(session, torch.zeros(3, 1, 2))
    session.close()
    assert session.plan == "CCC" and len(session.records) == 3 and session.peak_bytes == 3 * 2 * 4
    out = session.step(torch.zeros(1, 2), index=3, compute=lambda: torch.full((1, 2), 9.0))
    assert (out == 9).all() and session.plan == "CCCC"  # nothing is remembered to forecast from


def test_an_exception_in_the_stack_leaves_nothing_wrong_behind() -> None:
    def fails() -> Tensor:
        raise KeyboardInterrupt

    session, xs = Session(Plan(PLAN), Lagrange(1), STEPS), features()
    drive(session, xs[:5])
    with pytest.raises(KeyboardInterrupt):
        session.step(xs[5], index=5, compute=fails)
    out = session.step(xs[6], index=6, compute=lambda: xs[6] + 77)  # the plan's step 5 was never learnt
    assert torch.equal(out, xs[6] + 77) and notes(session) == {6: {"": "stale"}}
    for out, x, index in zip(drive(session, xs), xs, range(STEPS), strict=True):
        torch.testing.assert_close(out, x + line(index))
    assert not notes(session)


def test_a_stack_that_ran_unseen_leaves_its_held_input_in_no_forecast() -> None:
    """A forecast step is computed, its input lies in the only slot, and its output never comes."""
    session, x = Session(Plan("C..C"), Reuse(), total=4, measure=False), torch.ones(1, 2)
    session.step(x, index=0, compute=lambda: x + 5)
    session.begin(Position.at(1, 4))
    assert session.branch("").forecast((x.clone().requires_grad_(),)) is None
    session.branch("").hold((torch.full((1, 2), 9.0),))
    session.branch("").lose("bypassed")
    assert session.begin(Position.at(2, 4)), "nothing is remembered that could be forecast from"
    assert session.branch("").forecast((x,)) is None and notes(session) == {1: {"": "bypassed"}}


def test_complete_means_the_last_step_was_served_on_every_branch() -> None:
    session = Session(Plan("C.."), Reuse(), total=3)
    said = []
    for index in range(3):
        for branch in ("cond", "uncond"):
            session.step(torch.zeros(1, 2), index=index, branch=branch, compute=lambda: torch.ones(1, 2))
            said.append(session.complete)
    assert said == [False, False, False, False, False, True]
    session.step(torch.zeros(1, 2), index=0, compute=lambda: torch.ones(1, 2))
    assert not session.complete


def test_complete_with_one_branch_and_one_step() -> None:
    session = Session(Plan("C"), Reuse(), total=1)
    assert not session.complete
    session.step(torch.zeros(1, 2), index=0, compute=lambda: torch.ones(1, 2))
    assert session.complete


# What cannot be forecast is computed ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [torch.zeros(3, 4), torch.zeros(2, 5), torch.zeros(2, 4, 1), torch.zeros(2, 4, dtype=torch.float64)],
    ids=["batch", "width", "dimensions", "dtype"],
)
def test_features_that_change_in_a_run_are_computed_and_noted(changed: Tensor) -> None:
    session = Session(Plan("CC..."), Lagrange(1), total=5)
    drive(session, torch.zeros(3, 2, 4))
    assert torch.equal(session.step(changed, index=3, compute=lambda: changed + 5), changed + 5)
    assert notes(session) == {3: {"": "changed"}} and session.plan == "CC.C"
    assert torch.equal(session.step(changed, index=4, compute=never), changed + 5)  # repeated: one is known


def test_features_that_change_at_a_computed_step_need_no_note() -> None:
    session = Session(Plan("CCC."), Lagrange(1), total=4)
    drive(session, torch.zeros(2, 1, 4))
    wide = torch.zeros(1, 6)
    session.step(wide, index=2, compute=lambda: wide + 2)
    assert torch.equal(session.step(wide, index=3, compute=never), wide + 2)
    assert not notes(session) and session.plan == "CCC."


def test_a_forecast_that_is_not_finite_is_computed_and_noted() -> None:
    session, x = Session(Plan("CC.."), Lagrange(1), total=4), torch.zeros(2, 2, dtype=torch.float16)
    largest = torch.finfo(torch.float16).max
    for index, share in enumerate((0.25, 0.75)):  # the next on the line lies beyond the largest number
        session.step(x, index=index, compute=lambda share=share: x + share * largest)
    assert torch.equal(session.step(x, index=2, compute=lambda: x + 1), x + 1)
    assert notes(session) == {2: {"": "non-finite"}} and session.plan == "CCC"
    session.step(x, index=3, compute=never)
    assert session.plan == "CCC."


@pytest.mark.parametrize("forecaster", [Reuse(), Lagrange(2), Pade(), TCPade(), TCPade(form="published"), Chebyshev()])
def test_a_broken_stack_is_not_covered_up(forecaster: Forecaster) -> None:
    session, x = Session(Plan("CCC."), forecaster, total=4), torch.zeros(1, 2)
    for index in range(3):
        session.step(x, index=index, compute=lambda index=index: x + (math.nan if index == 2 else 1.0))
    assert torch.equal(session.step(x, index=3, compute=lambda: x + 4), x + 4)
    assert notes(session) == {3: {"": "non-finite"}}


def test_a_branch_that_comes_twice_at_a_step_is_computed_and_noted_and_not_remembered() -> None:
    session, x = Session(Plan("CC.."), Lagrange(1), total=4), torch.zeros(1, 2)
    session.step(x, index=0, compute=lambda: x + line(0))
    for index in range(1, 4):
        first = session.step(x, index=index, compute=lambda index=index: x + line(index))
        again = session.step(x, index=index, compute=lambda: x + 99)
        torch.testing.assert_close(first, x + line(index))
        assert torch.equal(again, x + 99)
    assert notes(session) == {index: {"": "ambiguous"} for index in range(1, 4)} and session.plan == "CC.."


def test_a_run_that_stopped_after_its_first_step_leaves_nothing_behind() -> None:
    session, x = Session(Plan("C.."), Reuse(), total=3), torch.zeros(1, 2)
    session.step(x, index=0, compute=lambda: x + 100)
    session.step(x, index=0, compute=lambda: x + 1)
    assert torch.equal(session.step(x, index=1, compute=never), x + 1)


def test_a_branch_that_appears_at_a_forecast_step_does_not_confuse_the_tolerance() -> None:
    session, x = Session(Tolerance(10.0), TCPade(), total=20), torch.ones(1, 2)
    for index in range(8):
        for branch in ("cond", "uncond")[: 1 + (index >= 2)]:
            session.step(x, index=index, branch=branch, compute=lambda: x + line(1))
    assert session.plan.startswith("CCC") and session.plan.endswith("..")


def test_strides_are_shares_of_the_way_whatever_their_unit() -> None:
    runs = []
    for scale in (1.0, 80.0):
        session = Session(Tolerance(0.02), TCPade(), total=STEPS, strides=[scale] * STEPS)
        drive(session, features())
        runs.append(session.plan)
    assert runs[0] == runs[1]


@pytest.mark.parametrize("time", [0.0, math.nan])
def test_a_time_that_another_step_had_is_refused(time: float) -> None:
    session, x = Session(Plan("CC."), Lagrange(1), total=3), torch.zeros(1, 2)
    session.step(x, index=0, time=0.0, compute=lambda: x)
    with pytest.raises(InvalidOption, match="time="):
        session.step(x, index=1, time=time, compute=lambda: x)


def test_a_step_is_computed_where_gradients_are_asked_for() -> None:
    session, x = Session(Plan("CC.."), Reuse(), total=4), torch.ones(1, 2)
    drive(session, torch.ones(2, 1, 2))
    wanted = x.clone().requires_grad_()
    out = session.step(wanted, index=2, compute=lambda: wanted * 3)
    assert notes(session) == {2: {"": "gradient"}}
    (gradient,) = torch.autograd.grad(out.sum(), wanted)
    assert torch.equal(gradient, torch.full((1, 2), 3.0))
    later = session.step(x, index=3, compute=never)
    assert not later.requires_grad and torch.equal(later, torch.full((1, 2), 3.0))


def test_every_note_has_a_sentence() -> None:
    assert all(text.startswith("computed because") for text in NOTES.values())


# What is refused -----------------------------------------------------------------------------------------------------


def test_a_stack_that_changes_the_shape_is_refused() -> None:
    session = Session(Always(), Reuse(), total=3)
    with pytest.raises(FeatureChanged, match=r"given \(1, 6, 4\) and returned \(1, 5, 4\)(?s:.*)another span"):
        session.step(torch.zeros(1, 6, 4), index=0, compute=lambda: torch.zeros(1, 5, 4))


@pytest.mark.parametrize("index", [-1, 5, 99])
def test_a_step_outside_the_schedule_is_refused(index: int) -> None:
    session = Session(Always(), Reuse(), total=5)
    with pytest.raises(IndexError, match=rf"index {index} .*5 steps \(0 to 4\)(?s:.*)Session\("):
        session.step(torch.zeros(1, 2), index=index, compute=never)


def test_a_plan_of_another_length_is_refused_before_the_run() -> None:
    with pytest.raises(InvalidPlan, match=r"has 20 steps, the plan 'CC\.\.' has 4"):
        Session(Plan("CC.."), Reuse(), total=20)


@pytest.mark.parametrize(
    ("policy", "forecaster", "said"),
    [("interval", forecasters.Pade(), "policy='interval'"), (policies.Interval(every=2), "pade", "forecaster='pade'")],
)
def test_parts_given_by_name_are_refused(policy: Any, forecaster: Any, said: str) -> None:
    with pytest.raises(InvalidOption, match=said):
        Session(policy, forecaster, total=5)


@pytest.mark.parametrize("total", [0, -3])
def test_a_schedule_has_a_step(total: int) -> None:
    with pytest.raises(InvalidOption, match=f"total={total}"):
        Session(Always(), Reuse(), total=total)


# Records, memory, inner products -------------------------------------------------------------------------------------


def test_records_say_what_was_done() -> None:
    session = Session(Plan(PLAN), Lagrange(1), STEPS)
    drive(session, features())
    assert [record.computed for record in session.records] == [letter == "C" for letter in PLAN]
    for record in session.records:
        assert list(record.weights) == ([] if record.computed else [""])
        known = [i for i in range(record.at.index + record.computed) if PLAN[i] == "C"]
        assert record.geometry[""].index == tuple(known[::-1][:3])
    assert session.records[4].weights[""].tolist() == [3.0, -2.0, 0.0]  # from steps 2 and 1 to step 4


class Farsighted(Always):
    """Looks at the five newest residuals."""

    looks_back = 5


@pytest.mark.parametrize(
    ("policy", "forecaster", "measure", "kept"),
    [
        (Plan(PLAN), Reuse(), False, 1),
        (Plan(PLAN), Reuse(), True, 3),
        (Plan(PLAN), Lagrange(4), False, 5),
        (Stability(), Reuse(), False, 3),
        (Farsighted(), Reuse(), False, 5),
        (Plan(PLAN), Pade((2, 1)), False, 4),
        (Plan(PLAN), Chebyshev(), False, 2 + 5),
    ],
)
def test_as_much_is_kept_as_somebody_asks_for(policy: Policy, forecaster: Forecaster, measure: bool, kept: int) -> None:
    session = Session(policy, forecaster, STEPS, measure=measure)
    xs = features(dtype=torch.float32)
    for branch in ("cond", "uncond"):
        session.step(xs[0], index=0, branch=branch, compute=lambda: xs[0] + 1)
    one = kept + (3 - 2 if policy.needs_gram and forecaster.extra else 0)
    assert session.peak_bytes == 2 * one * xs[0].numel() * 4
    measured = measure or policy.needs_gram or forecaster.needs_gram
    gram = session.records[0].geometry["cond"].gram
    assert (gram is not None) == measured


def test_the_history_may_be_stored_in_another_dtype() -> None:
    session = Session(Plan(PLAN), Lagrange(1), STEPS, dtype=torch.bfloat16, measure=False)
    xs = features(dtype=torch.float32)
    for out, x, index in zip(drive(session, xs), xs, range(STEPS), strict=True):
        assert out.dtype == torch.float32
        torch.testing.assert_close(
            out, x + line(index), rtol=0, atol=0.05
        )  # of bfloat16 residuals up to 4, mixed 3 : -2
    assert session.peak_bytes == 2 * xs[0].numel() * 2


@pytest.mark.parametrize("name", list(forecasters.REGISTRY))
def test_a_samples_output_does_not_depend_on_its_batch_mates(name: str) -> None:
    xs, stack = features(batch=3), lambda x, i: x + x.roll(1, -1).sin() * line(i)
    forecaster = forecasters.REGISTRY.make(name)
    together = drive(Session(Plan(PLAN), forecaster, STEPS), xs, stack)
    for b in range(3):
        alone = drive(Session(Plan(PLAN), forecaster, STEPS), xs[:, b : b + 1], stack)
        for one, many in zip(alone, together, strict=True):
            torch.testing.assert_close(one, many[b : b + 1])


@pytest.mark.parametrize("policy", ["stability", "tolerance", "cap:policy=stability"])
def test_a_policy_that_reads_inner_products_goes_with_moments(policy: str) -> None:
    session = Session(policies.REGISTRY.make(policy), Chebyshev(), STEPS)
    drive(session, features(), lambda x, i: x + x.roll(i, -1))
    assert len(session.plan) == STEPS and session.plan.count("C") > 3
