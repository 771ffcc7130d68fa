"""Options of every part, method and keyword, of wrong types and values: refused with a message, or taken and used."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.tiny import dit, loop

import padecast
from padecast import InvalidOption, PadecastError, Session, accelerate, enable, forecasters, policies
from padecast.forecasters import Forecaster, Lagrange, Reuse
from padecast.policies import Cap, Ends, Interval, Plan, Policy

pytestmark = pytest.mark.fault("options")

WRITTEN = (
    *("nonsense", "", " ", "nan", "-nan", "inf", "-inf", "1e400", "-1", "0", "-0.5", "3", "2.5", "1e9", "9" * 30),
    *("9" * 400, "9" * 5000, "none", "true", "False", "(1", "()", "(1,2)", "(1.5,true)", "[1]", "{}", "{1: 2}", "1j"),
    *(
        "b'x'",
        "''",
        "\x00",
        "(" * 300,
        "é",
        "__import__('os')",
        "lambda: 3",
        "(nan,)",
        "C..C",
        "(9" + "9" * 400 + ",1)",
    ),
)
VALUES = (
    *("word", "", 0, 3, -3, 2.5, True, False, None, math.nan, math.inf, -math.inf, 1e308, 10**30, 10**400, -(10**400)),
    *(
        (),
        (1,),
        (1, 2),
        (math.nan, 1.0),
        ("a",),
        (True, 1),
        [],
        {},
        {"every": 3},
        b"x",
        1j,
        object(),
        int,
        torch.ones(2),
    ),
    *(Reuse(), Interval(), Reuse, Interval),
)


def lines() -> list[tuple[str, str, str]]:
    """Every option of every registered part and method, with the registry that it is in."""
    parts = [(kind, name, part()) for kind, registry in REGISTRIES.items() for name, part in registry.items()]
    found = [(kind, name, field.name) for kind, name, part in parts for field in dataclasses.fields(part) if field.init]
    for name, method in padecast.methods().items():
        names = [field.name for part in (method.policy, method.forecaster) for field in dataclasses.fields(part)]
        found += [("method", name, option) for option in ("span", *names)]
    return found


RUN: set[str] = set()
REGISTRIES: dict[str, Any] = {"policy": policies.REGISTRY, "forecaster": forecasters.REGISTRY}
every_option = pytest.mark.parametrize(("kind", "name", "option"), lines())


def made(kind: str, name: str, option: str, written: str) -> Any:
    text = f"{name}:{option}={written}"
    return padecast.method(text) if kind == "method" else REGISTRIES[kind].make(text)


def used(part: Any) -> None:
    """Run a policy or a forecaster in a session; a plan of another length may say so."""
    if isinstance(part, padecast.Method):
        return
    if repr(part) in RUN:
        return
    RUN.add(repr(part))
    wanted = max(part.window, getattr(part.extra, "moments", 0)) if isinstance(part, Forecaster) else part.looks_back
    assert wanted < 1000, "more residuals than any memory holds"
    policy = part if isinstance(part, Policy) else Plan("CCC..C.C")
    forecaster = part if isinstance(part, Forecaster) else Lagrange()
    walk = torch.randn(8, 2, 6, generator=torch.Generator().manual_seed(0)).cumsum(0)
    try:
        session = Session(policy, forecaster, getattr(policy, "length", None) or 8, measure=False)
        for index in range(min(session.total, 8)):
            session.step(
                walk[-1], index=index, compute=lambda index=index: walk[index], probe=walk[index], time=index / 8
            )
    except PadecastError as error:
        explained(error)


def explained(error: PadecastError) -> None:
    """A message says the fact and what was expected, in a screen's worth of text."""
    assert len(str(error)) < 4000
    assert any(word in str(error) for word in ("expected", "Known:", "needed", "remedy", "\n")), str(error)


@every_option
def test_what_is_written_for_an_option_is_used_or_refused(kind: str, name: str, option: str) -> None:
    for written in WRITTEN[:: 4 if kind == "method" else 1]:
        try:
            part = made(kind, name, option, written)
        except PadecastError as error:
            explained(error)
        else:
            used(part)


@every_option
def test_a_value_for_an_option_is_used_or_refused(kind: str, name: str, option: str) -> None:
    for value in VALUES[:: 5 if kind == "method" else 1]:
        try:
            if kind == "method":
                part = padecast.methods()[name].configured({option: value})
            else:
                part = dataclasses.replace(REGISTRIES[kind].make(name), **{option: value})
        except PadecastError as error:
            explained(error)
        else:
            used(part)


@pytest.mark.parametrize(
    ("kind", "name", "option", "value"),
    [
        *((kind, name, option, value) for kind, name, option in lines() for value in (True,) if kind != "method"),
    ],
)
def test_a_truth_value_is_no_number_and_no_word(kind: str, name: str, option: str, value: Any) -> None:
    part = REGISTRIES[kind].make(name)
    if isinstance(getattr(part, option), bool):
        assert getattr(dataclasses.replace(part, **{option: value}), option) is value
        return
    with pytest.raises(PadecastError):
        dataclasses.replace(part, **{option: value})


@pytest.mark.parametrize(
    ("kind", "name", "option", "value", "said"),
    [
        ("policy", "interval", "every", 2.5, "every=2.5 is a float, where a whole number is expected"),
        ("policy", "interval", "every", "3", "every='3' is a str, where a whole number is expected"),
        ("policy", "interval", "last", "no", "last='no' is a str, where true or false is expected"),
        ("policy", "interval", "last", 0, "last=0 is a int, where true or false is expected"),
        ("policy", "spaced", "every", None, "every=None is a NoneType, where a number is expected"),
        ("policy", "plan", "steps", 20, "steps=20 is a int, where text is expected"),
        ("policy", "stability", "indicator", 3, "indicator=3 is a int, where text is expected"),
        ("policy", "magnitude", "ratios", 0.5, "numbers in parentheses, such as (1.0, 0.5)"),
        ("forecaster", "lagrange", "degree", 10**9, "degree=1000000000 is out of range: expected 0 to 32"),
        ("forecaster", "taylor", "order", 10**400, "order is a whole number of about 401 digits"),
        ("forecaster", "tcpade", "hindsight", 1, "hindsight=1 is a int"),
        ("forecaster", "tcpade", "form", None, "form=None is a NoneType"),
        ("forecaster", "chebyshev", "span", 2.5, "span=2.5 is a float, where a whole number or none is expected"),
        ("forecaster", "foca", "corrected", "yes", "corrected='yes' is a str"),
        ("forecaster", "pade", "order", (1.0, 1), "numbers in parentheses, such as (1, 1)"),
        ("forecaster", "wiener", "strides", (math.nan,), "finite numbers of 0 or more"),
    ],
)
def test_the_message_names_the_option_its_value_and_what_is_expected(
    kind: str, name: str, option: str, value: Any, said: str
) -> None:
    with pytest.raises(InvalidOption) as caught:
        dataclasses.replace(REGISTRIES[kind].make(name), **{option: value})
    assert said in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_method_or_refused(text: str) -> None:
    for make in (padecast.method, policies.REGISTRY.make, forecasters.REGISTRY.make, padecast.cite):
        try:
            make(text)
        except PadecastError as error:
            explained(error)


@pytest.mark.parametrize("value", [3, 2.5, True, None, b"tc-pade", ["tc-pade"], {}, object(), Interval])
@pytest.mark.parametrize(
    "make", [padecast.method, policies.REGISTRY.make, forecasters.REGISTRY.make, padecast.cite, padecast.zoo.load]
)
def test_what_is_no_text_is_no_name(make: Any, value: Any) -> None:
    with pytest.raises(PadecastError) as caught:
        make(value)
    explained(caught.value)


@pytest.mark.parametrize(
    "written", ["ends:policy=(" * 2000 + "interval" + ")" * 2000, "cap:policy=" + "(" * 9000, "blend:first=(" * 900]
)
def test_parts_in_parts_without_end_are_refused(written: str) -> None:
    for registry in REGISTRIES.values():
        with pytest.raises(PadecastError):
            registry.make(written)


def test_a_list_is_taken_for_a_tuple_so_that_a_part_stays_a_value() -> None:
    assert hash(policies.Magnitude(ratios=[1.0, 0.9])) == hash(policies.Magnitude(ratios=(1.0, 0.9)))  # type: ignore[arg-type]


def test_a_part_of_the_users_own_is_checked_alike() -> None:
    with pytest.raises(InvalidOption, match=r"share='half' is a str, where a number is expected"):
        Early("half")  # type: ignore[arg-type]
    assert Early(1).share == 1


@dataclasses.dataclass(frozen=True)
class Early(Policy):
    share: float = 0.5

    def computes(self, at: Any, trace: Any, geometry: Any) -> bool:
        return at.index < self.share * at.total


# The front door ------------------------------------------------------------------------------------------------------

KEYWORDS: dict[str, tuple[Any, ...]] = {
    "method": (3, 2.5, True, "", b"tc-pade", [], ["tc-pade"], [3], {}, object(), Interval(), Reuse(), int),
    "policy": (3, "", "nonsense", True, [], Reuse(), Interval, "plan:steps=", "plan:steps=.C"),
    "forecaster": (3, "", "nonsense", True, [], Interval(), Reuse, "lagrange:degree=-1"),
    "span": (3, "", "50", "nonsense", True, [], ("double",)),
    "steps": (0, -1, 2.5, "20", True, [], math.nan, 10**400, 20),
    "measure": ("yes", 1, 0, None, [], "false"),
    "offload": ("model", 1, 0, None, [], "true"),
    "dtype": ("bfloat16", 16, torch.int8, torch.bool, torch.complex64, float, True),
    "computed": (8, "8", 2.5, True, -1, [], math.nan),
    "speedup": (2.5, "2", True, math.nan, [], 10**400),
    "decibels": (35, "35", True, math.inf, []),
    "otherwise": ("tc-pade", 3, True, "nonsense"),
}
WRONG = [(name, value) for name, values in KEYWORDS.items() for value in values]


@pytest.mark.parametrize(("name", "value"), WRONG, ids=[f"{name}-{place}" for place, (name, _) in enumerate(WRONG)])
def test_a_wrong_keyword_is_refused_at_once_or_when_it_is_switched_on(name: str, value: Any) -> None:
    pipe = loop()
    for make in (accelerate, enable):
        with pytest.raises(PadecastError) as caught:
            make(pipe, **{name: value}).enable()
        explained(caught.value)
    assert not padecast.handles.handle.ENABLED or all(
        handle.pipe is not pipe for handle in padecast.handles.handle.ENABLED
    )


WISHES = [
    *(("computed", value) for value in (0, -1, 2.5, 4, 15, 20)),
    *(("speedup", value) for value in (0, -1, 0.5, 1e-9, 5.0, 1e9)),
    *(("decibels", value) for value in (-1, -1e-9, 90, 1e308)),
    *((name, value) for name in ("computed", "speedup", "decibels") for value in ("8", True, math.nan, math.inf, [])),
    *((name, 10**400) for name in ("computed", "speedup", "decibels")),
]


@pytest.mark.parametrize(("name", "value"), WISHES, ids=[f"{name}-{place}" for place, (name, _) in enumerate(WISHES)])
def test_a_wish_that_no_calibration_fulfils_is_refused(name: str, value: Any) -> None:
    calibration = padecast.zoo.calibration("digits", "hard")
    with pytest.raises(PadecastError) as caught:
        accelerate(loop(), calibration, **{name: value})
    explained(caught.value)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": 3}, "method=3 is a int, and no method"),
        ({"steps": 20}, "has no effect on a Loop, whose scheduler says how many there are"),
        ({"computed": 8}, "computed=8 needs a calibration"),
        ({"otherwise": "fora"}, "otherwise='fora' needs a calibration"),
        ({"method": ["tc-pade"]}, "'tc-pade' is no calibration"),
        ({"method": "fora:span=50"}, "'50'"),
        ({"span": 3}, "span=3 is a int"),
    ],
)
def test_the_message_of_a_keyword_says_what_to_write(options: dict[str, Any], said: str) -> None:
    with pytest.raises(PadecastError) as caught:
        enable(loop(), **options)
    assert said in str(caught.value) and "\n" in str(caught.value)


def test_steps_that_contradict_a_plan_are_refused() -> None:
    with pytest.raises(InvalidOption, match=r"steps=20 contradicts the plan, which has 4 steps"):
        accelerate(dit(), policy="plan:steps=CC.C", steps=20)
    with accelerate(dit(), policy="plan:steps=CC.C", steps=4) as run:
        assert run.method.policy == Plan("CC.C")


# A span is the name of one, and Spectrum's is a number too -----------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "span", "regression"),
    [
        ("spectrum:span=output", "output", None),
        ("spectrum:span=difference", "difference", None),
        ("spectrum:span=full", "full", None),
        ("spectrum:span=50", "full", 50),
        ("spectrum:span=none", "full", None),
        ("spectrum-fast:span=modules,ridge=1", "modules", None),
        ("spectrum:ridge=1,span=50,window=3", "full", 50),
        ("fora:span=output", "output", None),
    ],
)
def test_a_span_goes_where_it_means_something(written: str, span: str, regression: int | None) -> None:
    method = padecast.method(written)
    assert method.span == span and getattr(method.forecaster, "span", None) == regression


@pytest.mark.parametrize("written", ["spectrum:span=50", "spectrum:span=output", "spectrum:span=difference"])
def test_either_span_of_spectrum_runs(written: str) -> None:
    pipe = loop()
    with accelerate(pipe, written) as run:
        pipe(12)
    assert run.report.forecast > 0


# Policies around a plan know its length ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "policy",
    [
        Plan("CC.C"),
        Ends(Plan("C..C")),
        Ends(Plan("C..C"), first=0, last=0),
        Cap(Plan("C..C"), limit=2),
        Ends(Cap(Plan("C..C"))),
        Cap(Ends(Plan("C..C"))),
        Ends(Ends(Ends(Plan("C..C")))),
        "ends:policy=(plan:steps=CC.C)",
        "cap:policy=(ends:policy=(plan:steps=C..C)),limit=3",
    ],
    ids=repr,
)
def test_a_plan_inside_another_policy_says_how_many_steps_a_transformer_runs(policy: Any) -> None:
    model = dit()
    with torch.no_grad(), accelerate(model, policy=policy, forecaster=Reuse()) as run:
        for time in (900, 600, 300, 100):
            model(torch.ones(1, 4, 8, 8), timestep=torch.tensor([time]), class_labels=torch.tensor([3]))
    assert len(run.report.plan) == 4 and run.report.forecast > 0


@pytest.mark.parametrize(
    "policy", [Interval(), Ends(Interval()), Cap(Ends(Interval())), policies.Tolerance()], ids=repr
)
def test_a_policy_for_runs_of_any_length_has_none(policy: Policy) -> None:
    assert policy.length is None
    with pytest.raises(InvalidOption, match="does not say how many steps"):
        enable(dit(), policy=policy, forecaster=Reuse())


def test_warnings_of_arithmetic_are_none_of_the_users() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        used(policies.Spaced(every=1e308, density=1e308))
