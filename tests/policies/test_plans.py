"""Tables from time-only policies to the plans they follow, written out by hand."""

from __future__ import annotations

from itertools import pairwise
from math import floor

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from padecast import InvalidOption, InvalidPlan, Session
from padecast._geometry import Geometry
from padecast._noise import Noise
from padecast._steps import Position, Trace
from padecast.forecasters import Reuse
from padecast.policies import REGISTRY, Anchors, Cap, Ends, Growing, Interval, Plan, Spaced, Window, plan_of
from padecast.policies import spaced as rule

TABLE = {
    "always": "CCCCCCCC",
    "learned": "CCCCCCCC",  # without a lesson
    "interval": "C...C...C...C...C..C",
    "interval:every=4,last=false": "C...C...C...C...C...",
    "interval:every=4,warmup=3": "CCCC...C...C...C...C",
    "interval:every=3,warmup=2": "CCC..C..CC",
    "interval:every=3,warmup=2,last=false": "CCC..C..C.",
    "interval:every=2": "C.C.C.CC",
    "interval:every=1": "CCCCC",
    "interval:every=9": "C....C",
    "interval:warmup=9": "CCCCC",
    "spaced": "C...C...C..C...C...C",
    "spaced:every=3": "C..C.C..C..C..C.C..C",
    "spaced:every=1": "CCCC",
    "spaced:every=30": "C.......C",
    "plan:steps=CC..C.": "CC..C.",
    "growing:window=2,growth=0,warmup=1": "C.C.C.C.",
    "growing:window=2,growth=1,warmup=1": "C.C..C...C....C.",
    "growing:window=2,growth=1,warmup=1,last=true": "C.C..C...C....CC",
    "growing:window=1,growth=0.5,warmup=2": "CCCC.C.C..C..C...C",
    "growing:window=2,growth=0.5,warmup=3": "CCC.C.C..C..C...C",
    "delta": "C.C.C.CC",
    "delta:every=3,last=false": "C..C..C.",
    "guided-risk": "C.C.C.C.",
    "guided-risk:threshold=0.35": "C..C..C..C",
    "guided-risk:threshold=0.15": "C.C.C.C.C.",
    "guided-risk:gain=(2.0,1.0,0.0)": "C.C.C..C..",
    "searched": "CCCCCCCC",  # before a search
    "searched:steps=CC..C...": "CC..C...",
    "magnitude": "CC...C...C",
    "magnitude:ratios=(1,0.98),threshold=0.06,limit=9,retention=0,last=false": "C....C..C.",
    "ends:policy=(interval:every=4,last=false),first=2,last=2": "CC..C...C.CC",
    "ends:policy=(interval:every=3,last=false),first=0,last=0": "C..C..C..",
    "ends:policy=(plan:steps=C.......),first=3,last=1": "CCC....C",
    "ends:policy=interval,first=20,last=0": "CCCCC",
    "cap:policy=(interval:every=9),limit=3": "C...C...CC.C",
    "cap:policy=(interval:every=9,last=false),limit=1": "C.C.C.C.CC.",
    "cap:policy=(plan:steps=C.......),limit=2": "C..C..C.",
    "cap:policy=(ends:policy=(plan:steps=C.......),last=2),limit=3": "C...C.CC",
}


@pytest.mark.parametrize(("written", "plan"), TABLE.items(), ids=list(TABLE))
def test_plans(written: str, plan: str) -> None:
    assert plan_of(REGISTRY.make(written), len(plan)) == plan


def test_every_policy_that_reads_no_residual_has_a_plan_in_the_table_or_in_its_example() -> None:
    without = {name for name in REGISTRY if not (REGISTRY.make(name).needs_gram or REGISTRY.make(name).probe)}
    written = {written.split(":")[0] for written in TABLE}
    shown = {name for name in without if ">>> plan_of(" in str(REGISTRY[name].__doc__)}
    assert written <= without <= written | shown


# A run in the middle of the grid, as image to image: the rule starts where the run does.
FROM_EIGHT = {
    "interval:every=4": "C...C...C..C",
    "interval:every=4,warmup=2": "CCC...C...CC",
    "growing:window=2,growth=1,warmup=2": "CC.C..C...C.",
    "ends:policy=(interval:every=9,last=false),first=2,last=1": "CC.......C.C",
    "cap:policy=(interval:every=9,last=false),limit=4": "C....C...C..",
    "plan:steps=C...C...C.CC..CC.C.C": "C.CC..CC.C.C",
    "plan:steps=C...C.......C...C..C": "C...C...C..C",  # its step 8 is a forecast, but the first of this run
}


@pytest.mark.parametrize(("written", "plan"), FROM_EIGHT.items(), ids=list(FROM_EIGHT))
def test_a_run_that_starts_in_the_middle_of_the_grid(written: str, plan: str) -> None:
    session = Session(REGISTRY.make(written), Reuse(), total=20)
    for index in range(8, 20):
        session.step(torch.zeros(1, 2), index=index, compute=lambda: torch.ones(1, 2))
    assert session.plan == " " * 8 + plan


def published(total: int, window: float, growth: float, warmup: int) -> str:
    """Spectrum's loop, with the state that it keeps."""
    plan, forecasts = "", 0
    for index in range(total):
        computed = index < warmup or (forecasts + 1) % floor(window) == 0
        if computed and index >= warmup:
            window += growth
        forecasts = 0 if computed else forecasts + 1
        plan += "C" if computed else "."
    return plan


@given(st.integers(4, 60), st.integers(4, 20), st.integers(0, 16), st.integers(1, 6))
def test_growing_is_the_published_loop(total: int, window: int, growth: int, warmup: int) -> None:
    policy = Growing(window / 4, growth / 4, warmup)
    assert plan_of(policy, total) == published(total, window / 4, growth / 4, warmup)


@pytest.mark.parametrize(("growth", "computed"), [(0.75, 14), (3.0, 10)])
def test_growing_computes_as_often_as_published(growth: float, computed: int) -> None:
    assert plan_of(Growing(window=2.0, growth=growth, warmup=5), 50).count("C") == computed


# Plans ---------------------------------------------------------------------------------------------------------------


@given(st.text("C.", max_size=30))
def test_a_plan_is_made_from_its_indices(tail: str) -> None:
    plan = Plan("C" + tail)
    assert Plan.at(plan.indices, total=len(plan.steps)) == plan
    assert plan.nfe == plan.steps.count("C") == len(plan.indices)
    assert plan_of(plan, len(plan.steps)) == plan.steps


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ("CC.x.", "'x' at step 3"),
        ("CCc", "'c' at step 2"),
        ("C C", "' ' at step 1"),
        ("..C", "does not begin with C"),
        ("", "does not begin with C"),
    ],
)
def test_what_is_no_plan_says_where(steps: str, message: str) -> None:
    with pytest.raises(InvalidPlan, match=message):
        Plan(steps)


@pytest.mark.parametrize("index", [-1, 5, 50])
def test_an_index_outside_the_run_is_named(index: int) -> None:
    with pytest.raises(InvalidPlan, match=rf"\[{index}\].*5 steps"):
        Plan.at([0, index], total=5)


@pytest.mark.parametrize("policy", [Plan("CC..C"), Ends(Plan("CC..C")), Cap(Ends(Plan("CC..C")))])
def test_a_plan_belongs_to_one_length(policy: Plan | Ends | Cap) -> None:
    policy.check(5)
    with pytest.raises(InvalidPlan, match=r"has 6 steps, the plan 'CC..C' has 5(?s:.*)num_inference_steps=5"):
        policy.check(6)
    with pytest.raises(InvalidPlan, match="6 steps"):
        plan_of(policy, 6)


def test_wrappers_need_what_they_wrap() -> None:
    inner = REGISTRY.make("tolerance")
    for policy in (Ends(inner), Cap(Ends(inner))):
        needs = (policy.needs_gram, policy.needs_stride, policy.looks_back)
        assert needs == (inner.needs_gram, inner.needs_stride, inner.looks_back)
    assert not Ends(Interval()).needs_gram


# Spaced -------------------------------------------------------------------------------------------------------------

EVEN = [1 - i / 20 for i in range(20)]
SHIFTED = [3 * u / (1 + 2 * u) for u in EVEN]  # noise levels of rectified flow


def noise(size: float, sigmas: list[float] = SHIFTED) -> Noise:
    return Noise((*(1 - s for s in sigmas), 1.0), (*sigmas, 0.0), size, tuple(sigmas))


def spaced(policy: Spaced, levels: Noise | None, total: int, start: int = 0) -> str:
    """The plan in a run whose noise levels are known, or not."""
    trace = Trace()
    for index in range(start, total):
        at = Position.at(index, total, noise=levels)
        known = tuple(reversed(trace.computed))
        computed = not known or policy.computes(at, trace, Geometry(known, tuple(map(float, known))))
        trace = trace.then(at, computed)
    return "".join("C" if step.computed else "." for step in trace)


def test_computed_steps_are_closest_at_the_start() -> None:
    plan = spaced(Spaced(every=2.9), noise(262_144), 20)
    nodes = [index for index, letter in enumerate(plan) if letter == "C"]
    gaps = [b - a for a, b in pairwise(nodes)]
    assert len(nodes) == 8 and gaps[:2] == [1, 1] and gaps == sorted(gaps) and plan.endswith("C")


def test_large_latents_and_few_computed_steps_are_computed_earlier() -> None:
    def centre(plan: str) -> float:
        nodes = [index for index, letter in enumerate(plan) if letter == "C"]
        return sum(nodes) / len(nodes)

    for every in (2.0, 2.9, 4.0):
        by_size = [centre(spaced(Spaced(every=every), noise(size), 20)) for size in (256, 16_384, 2_000_000)]
        assert by_size == sorted(by_size, reverse=True) and by_size[0] > by_size[-1] + 1
    dense, usual = spaced(Spaced(density=4), noise(16_384), 20), spaced(Spaced(), noise(16_384), 20)
    assert centre(dense) < centre(usual)


def test_as_large_a_latent_as_its_noise_is_shifted_has_the_same_plan() -> None:
    """The latents of an enlarged model, each pixel k x k times at k times the shift, are as noisy to see."""
    for every in (2.0, 2.9, 4.0):
        plans = [
            spaced(Spaced(every=every), noise(size, [s * u / (1 + (s - 1) * u) for u in EVEN]), 20)
            for size, s in ((4_194_304, 12.8), (16_777_216, 25.6))
        ]
        assert plans[0] == plans[1]


def test_without_noise_levels_steps_are_even() -> None:
    assert spaced(Spaced(), None, 20) == "C...C...C..C...C...C"
    assert spaced(Spaced(last=False), None, 20) == "C..C...C..C..C...C.."


def test_places_are_even_in_the_root_of_the_effective_level() -> None:
    """From the formula: the j-th computed step is the nearest to the j-th even place."""
    policy, levels = Spaced(every=19 / 7), noise(262_144)
    kappa = 0.021 * (262_144 + 500) ** 0.5 * 20 / 8
    places = [(s / (s + kappa * (1 - s))) ** 0.5 for s in SHIFTED]
    nodes = [index for index, letter in enumerate(spaced(policy, levels, 20)) if letter == "C"]
    assert len(nodes) == 8
    for number, node in enumerate(nodes):
        wanted = places[0] + (places[-1] - places[0]) * number / 7
        nearest = min(range(20), key=lambda index: abs(places[index] - wanted))
        assert node == nearest or places[nearest] == places[0] or nearest in nodes[:number]


def test_the_image_is_a_place_where_the_last_step_need_not_be_computed() -> None:
    levels = noise(1024, [0.2 * u / (1 - 0.8 * u) for u in EVEN])
    for every in (3.0, 4.0):
        plan = spaced(Spaced(every=every, last=False), levels, 20)
        assert plan.endswith(".") and plan.count("C") == Spaced(every=every).computed(20)


def test_a_run_that_starts_late_spaces_what_is_left() -> None:
    whole, late = spaced(Spaced(), None, 12), spaced(Spaced(), None, 20, start=8)
    assert late == whole and late[0] == late[-1] == "C"
    assert spaced(Spaced(), noise(262_144), 20, start=8) != spaced(Spaced(), noise(256), 20, start=8)


@pytest.mark.parametrize("every", [1.0, 1.5, 2.111, 3.0, 19.0, 40.0])
@pytest.mark.parametrize("last", [True, False])
def test_as_many_steps_are_computed_as_said(every: float, last: bool) -> None:
    for levels in (None, noise(256), noise(2_000_000)):
        plan = spaced(Spaced(every=every, last=last), levels, 20)
        assert plan.count("C") == Spaced(every=every).computed(20) and plan.startswith("C")


@pytest.mark.parametrize("total", [4, 10, 12, 20, 28, 50])
@pytest.mark.parametrize(("start", "end"), [(0.0, 1.0), (0.15, 0.95), (0.3, 0.7), (0.0, 0.5), (0.5, 1.0)])
def test_every_step_outside_a_window_is_computed_and_inside_the_policy_decides(
    total: int, start: float, end: float
) -> None:
    plan = plan_of(Window(Plan("C" + "." * (total - 1)), start, end), total)
    inside = [index for index in range(1, total) if start * total - 1e-6 <= index < end * total - 1e-6]
    assert [index for index, letter in enumerate(plan) if letter == "."] == inside


def test_a_window_counts_from_where_a_run_begins() -> None:
    policy, trace = Window(Plan("C" + "." * 19), end=0.5), Trace().then(Position.at(10, 20), True)
    nothing = Geometry((10,), (10.0,))
    assert [policy.computes(Position.at(i, 20), trace, nothing) for i in (11, 14, 15)] == [False, False, True]


def test_anchors_are_computed_and_change_nothing_else() -> None:
    inner = Plan("C...........")
    assert plan_of(Anchors(inner, steps=(3, 7, -1)), 12) == "C..C...C...C"
    with pytest.raises(InvalidOption, match=r"steps=\(30,\) is out of range: expected places in a run of 12 steps"):
        plan_of(Anchors(steps=(30,)), 12)
    with pytest.raises(InvalidPlan, match="this run has 8 steps"):
        plan_of(Anchors(inner), 8)


@given(st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.7, 1.0]), min_size=2, max_size=30), st.floats(0, 1))
def test_steps_are_found_by_bisection_where_places_fall_and_else_by_looking_through(
    values: list[float], place: float
) -> None:
    falling = sorted(values, reverse=True)
    assert rule._bisect(falling, place) == rule._look_through(falling, place)
    for places in (falling, values, sorted(values)):
        chosen = rule.choose_steps(tuple(places), 5)
        assert len(chosen) == min(5, len(places)) and {0, len(places) - 1} <= chosen
