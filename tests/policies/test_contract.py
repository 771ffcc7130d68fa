"""What every registered policy promises. A new line of the registry is tested here without further ado."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from padecast import Geometry, InvalidOption, Position, Session, Trace, forecasters, policies
from padecast.forecasters import Lagrange
from padecast.policies import REGISTRY, Policy

TOTAL = 12
VARIANTS = {
    "plan": ("plan:steps=CC..C..C...C",),  # the default, one step, serves no run of twelve
    "interval": ("interval", "interval:every=3,warmup=2,last=false"),
    "stability": ("stability", "stability:threshold=1.3", "stability:indicator=curvature,threshold=0.3"),
    "spaced": ("spaced", "spaced:every=2.5,density=2", "spaced:last=false"),
    "growing": ("growing", "growing:window=1,growth=0.5,warmup=1,last=true"),
    "tolerance": ("tolerance", "tolerance:tolerance=0.001", "tolerance:warmup=2,last=true"),
    "accumulated": ("accumulated", "accumulated:threshold=0.8,coefficients=(2.0,0.5,0.0),last=false"),
    "first-block": ("first-block", "first-block:threshold=0.6,last=true"),
    "magnitude": ("magnitude", "magnitude:ratios=(1.0,0.9,0.8),limit=2,retention=0.0,last=false"),
    "delta": ("delta", "delta:every=3,switch=0.25,last=false"),
    "guided-risk": ("guided-risk", "guided-risk:threshold=0.2,scale=4.0,gain=(2.0,1.5,0.1)"),
    "searched": ("searched", "searched:search=average-velocity,steps=CC..C..C...C"),
    "rate": ("rate", "rate:threshold=0.5,warmup=3,last=false"),
    "sea": ("sea", "sea:threshold=0.8,exponent=3.0,last=false"),
    "ends": ("ends", "ends:policy=(plan:steps=C...........),first=2,last=3", "ends:policy=stability"),
    "cap": ("cap", "cap:policy=tolerance,limit=2"),
    "window": ("window", "window:policy=tolerance,start=0.25,end=0.75", "window:end=0.5"),
    "anchors": ("anchors", "anchors:policy=stability,steps=(2,-3)"),
}
WRITTEN = [written for name in REGISTRY for written in VARIANTS.get(name, (name,))]
every_policy = pytest.mark.parametrize("policy", [REGISTRY.make(w) for w in WRITTEN], ids=WRITTEN)


def seen(index: list[int], seed: int = 0) -> Geometry:
    """A random geometry of two samples over these computed steps."""
    generator = torch.Generator().manual_seed(seed)
    return Geometry.of(torch.randn(len(index), 2, 5, dtype=torch.float64, generator=generator), index)


def done(plan: str, start: int = 0) -> Trace:
    trace = Trace()
    for i, letter in enumerate(plan, start):
        trace = trace.then(Position.at(i, TOTAL), letter == "C")
    return trace


def run(policy: Policy, total: int = TOTAL, start: int = 0, seed: int = 0) -> str:
    """The plan that a policy follows on a random walk."""
    session = Session(policy, Lagrange(), total)
    walk = torch.randn(total, 2, 5, generator=torch.Generator().manual_seed(seed)).cumsum(0)
    for index in range(start, total):
        session.step(torch.zeros(2, 5), index=index, compute=lambda index=index: walk[index], probe=walk[index])
    return session.plan


def test_variants_are_of_registered_policies() -> None:
    assert set(VARIANTS) <= set(REGISTRY)


@every_policy
@given(st.text("C.", max_size=TOTAL - 2), st.integers(0, 9))
def test_a_decision_is_a_boolean_and_depends_on_the_arguments_alone(policy: Policy, tail: str, seed: int) -> None:
    trace = done("C" + tail)
    geometry, at = seen(list(trace.computed), seed), Position.at(len(trace), TOTAL, stride=0.1)
    assert geometry.gram is not None
    before = geometry.gram.clone(), trace.steps
    first = policy.computes(at, trace, geometry)
    policy.computes(Position.at(1, TOTAL), done("C"), seen([0]))
    again = [policy.computes(at, trace, geometry), copy.deepcopy(policy).computes(at, trace, geometry)]
    assert type(first) is bool and again == [first, first]
    assert torch.equal(geometry.gram, before[0]) and trace.steps == before[1]


@every_policy
@pytest.mark.parametrize("start", [0, 8])
def test_a_run_begins_computed_and_can_be_repeated(policy: Policy, start: int) -> None:
    plan = run(policy, start=start)
    assert plan[:start].isspace() or not start
    assert plan[start] == "C" and len(plan) == TOTAL
    assert run(policy, start=start) == plan


@every_policy
def test_runs_in_turn_do_not_disturb_each_other(policy: Policy) -> None:
    alone = [run(policy, seed=0), run(policy, seed=1)]
    session = [Session(policy, Lagrange(), TOTAL) for _ in alone]
    walks = [torch.randn(TOTAL, 2, 5, generator=torch.Generator().manual_seed(s)).cumsum(0) for s in (0, 1)]
    for index in range(TOTAL):
        for one, walk in zip(session, walks, strict=True):
            computed = walk[index]
            one.step(torch.zeros(2, 5), index=index, compute=lambda computed=computed: computed, probe=computed)
    assert [one.plan for one in session] == alone


@every_policy
def test_a_policy_is_a_value(policy: Policy) -> None:
    again = pickle.loads(pickle.dumps(policy))
    assert again == policy and hash(again) == hash(policy)
    for field in dataclasses.fields(policy):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(policy, field.name, None)


@every_policy
def test_what_a_policy_needs_is_plain(policy: Policy) -> None:
    assert type(policy.needs_gram) is bool and type(policy.needs_stride) is bool
    assert policy.looks_back >= 1


@every_policy
def test_a_plan_before_the_run_exists_where_no_residual_is_read(policy: Policy) -> None:
    if policy.needs_gram or policy.probe:
        with pytest.raises(ValueError, match="no plan before"):
            policies.plan_of(policy, TOTAL)
    else:
        assert policies.plan_of(policy, TOTAL) == run(policy)


@every_policy
def test_a_policy_goes_with_a_forecaster_that_keeps_moments(policy: Policy) -> None:
    session = Session(policy, forecasters.Chebyshev(), TOTAL)
    line = torch.linspace(1, 2, 5)
    for index in range(TOTAL):
        computed = (line * (1 + index))[None]
        session.step(torch.zeros(1, 5), index=index, compute=lambda computed=computed: computed, probe=computed)
    assert session.plan[0] == "C" and len(session.plan) == TOTAL


# Options -------------------------------------------------------------------------------------------------------------

OUT_OF_RANGE = {
    "interval": ("every=0", "warmup=-1"),
    "stability": ("threshold=-0.1", "threshold=2.1", "every=0", "indicator=sine"),
    "spaced": ("every=0.5", "density=0"),
    "growing": ("window=0.5", "growth=-1.0", "warmup=0"),
    "tolerance": ("tolerance=0", "tolerance=-1.0", "warmup=0", "warmup=1"),
    "accumulated": ("threshold=0", "coefficients=()"),
    "first-block": ("threshold=0",),
    "magnitude": ("ratios=()", "threshold=-1.0", "limit=0", "retention=1.0"),
    "rate": ("threshold=0", "warmup=1"),
    "delta": ("every=0", "switch=1.5"),
    "sea": ("threshold=0", "exponent=0"),
    "ends": ("first=-1", "last=-1"),
    "cap": ("limit=0",),
    "window": ("start=-0.1", "start=1.0", "end=0.0", "end=1.5"),
    "anchors": ("steps=()",),
    "guided-risk": ("threshold=0", "scale=-1"),
    "searched": ("search=genetic", "images=0"),
    "learned": ("computed=0", "speedup=0.5", "decibels=0", "first=slow", "runs=0", "objective=best"),
}
FORECASTERS_OUT_OF_RANGE = {
    "l2p": ("ridge=-1.0",),
    "taylor": ("order=-1",),
    "lagrange": ("degree=-1",),
    "pade": ("order=(-1,1)", "order=(1,2)", "guard=0.5"),
    "tcpade": (
        "order=(1,2)",
        "guard=0.5",
        "damping=-1.0",
        "feedback=2.5",
        "early=1.5",
        "early=-0.1",
        "late=11.0",
        "axis=time",
        "form=released",
    ),
    "chebyshev": ("degree=-1", "ridge=-0.1", "blend=1.5", "blend=-0.1", "span=1", "abscissa=sigma"),
    "blend": ("first=oracle", "second=chebyshev", "share=1.5", "share=-0.1"),
    "wiener": ("window=0", "ridge=-1.0", "feedback=2.5", "feedback=-0.1", "constraint=product", "plan=C.x"),
    "hermite": ("order=-1", "scale=0", "scale=1.5"),
    "refined": ("inner=oracle", "inner=chebyshev"),
    "feedback": ("inner=oracle", "inner=chebyshev", "share=2.5", "share=-0.1"),
    "toca": ("fraction=1.5", "fraction=-0.1", "influence=-1", "control=-1", "staleness=-1", "spread=-1", "cell=0"),
}
CASES = [
    *((policies.REGISTRY, name, option) for name, options in OUT_OF_RANGE.items() for option in options),
    *((forecasters.REGISTRY, name, option) for name, options in FORECASTERS_OUT_OF_RANGE.items() for option in options),
]
# Options that every value of their type fits, and those with an error of their own.
ALL_FIT = {f"{name}.last" for name in ("stability", "interval", "growing", "tolerance", "accumulated", "first-block")}
ALL_FIT |= {"spaced.last", "learned.near", "learned.watchful"} | {
    "delta.last",
    "magnitude.last",
    "rate.last",
    "sea.last",
    "foca.corrected",
    "tcpade.hindsight",
}
ELSEWHERE = {
    "plan.steps",
    "ends.policy",
    "cap.policy",
    "window.policy",
    "anchors.policy",
    "wiener.gram",
    "wiener.strides",
    "l2p.gram",
    "searched.steps",
}
ELSEWHERE |= {"guided-risk.ratios", "guided-risk.alignment", "guided-risk.gain"}
ELSEWHERE |= {"refined.offsets", "refined.branches"}


@pytest.mark.parametrize(("registry", "name", "option"), CASES, ids=[f"{name}:{option}" for _, name, option in CASES])
def test_an_option_out_of_range_is_named_with_its_value(registry: policies.Registry, name: str, option: str) -> None:
    key, value = option.split("=")
    with pytest.raises(InvalidOption) as error:
        registry.make(f"{name}:{option}")
    message = str(error.value)
    given = value.replace(",", ", ") if value.startswith("(") else value
    assert message.startswith(f"{key}=") and "expected" in message
    assert given == "()" or given.lower() in message.lower().replace("'", "").replace("()", "")


def test_every_option_has_a_case_out_of_range_or_shows_one() -> None:
    tested = {f"{name}.{option.split('=')[0]}" for _, name, option in CASES} | ALL_FIT | ELSEWHERE
    parts = [item for registry in (policies.REGISTRY, forecasters.REGISTRY) for item in registry.items()]
    options = {f"{name}.{field.name}" for name, part in parts for field in dataclasses.fields(part)}  # type: ignore[arg-type]
    refused = {
        f"{name}.{option}"
        for name, part in parts
        for option in re.findall(rf">>> {part.__name__}\((\w+)=.*\)\n +Traceback", str(part.__doc__))
    }
    assert tested <= options <= tested | refused


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_out_of_range(value: float) -> None:
    for make in (
        lambda: policies.Growing(growth=value),
        lambda: policies.Growing(window=value),
        lambda: forecasters.Chebyshev(ridge=value),
    ):
        with pytest.raises(InvalidOption, match=str(value)):
            make()
