from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import pytest

from padecast import InvalidOption, UnknownName, forecasters, method, methods, policies
from padecast._registry import Registry, configure, parse
from padecast.forecasters import Blend, Chebyshev, Lagrange, Pade, Taylor, TCPade
from padecast.policies import Cap, Ends, Growing, Interval, Plan, Stability, Tolerance


@dataclass(frozen=True)
class Tool:
    size: int = 1
    weight: float = 0.5
    sharp: bool = False
    name: str = "knife"
    limit: int | None = None
    reach: float | None = 2.0
    corner: tuple[int, int] = (0, 0)


TOOLS: Registry[Tool] = Registry("tool", Tool, {"tool": Tool})


@pytest.mark.parametrize("registry", [forecasters.REGISTRY, policies.REGISTRY], ids=["forecasters", "policies"])
def test_every_name_alone_makes_the_defaults(registry: Registry[object]) -> None:
    for name, part in registry.items():
        made = registry.make(name)
        assert type(made) is part and made == part()


def test_a_registry_is_a_mapping() -> None:
    assert list(TOOLS) == ["tool"] and len(TOOLS) == 1 and "tool" in TOOLS and "saw" not in TOOLS
    assert TOOLS["tool"] is Tool and TOOLS.get("saw") is None and dict(TOOLS) == {"tool": Tool}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        ("size=3", {"size": 3}),
        ("weight=3", {"weight": 3.0}),
        ("weight=1e-3", {"weight": 1e-3}),
        ("weight=-.5", {"weight": -0.5}),
        ("sharp=true", {"sharp": True}),
        ("sharp=False", {"sharp": False}),
        ("name=saw", {"name": "saw"}),
        ("name=3", {"name": "3"}),
        ("name=true", {"name": "true"}),
        ("limit=none", {"limit": None}),
        ("limit=7", {"limit": 7}),
        ("reach=None", {"reach": None}),
        ("reach=7", {"reach": 7.0}),
        ("corner=(2,1)", {"corner": (2, 1)}),
        ("corner=(2, 1), size=4", {"corner": (2, 1), "size": 4}),
        (" size = 4 , name = a b ", {"size": 4, "name": "a b"}),
    ],
)
def test_values_are_read_as_annotated(options: str, changed: dict[str, object]) -> None:
    made = TOOLS.make(f"tool:{options}")
    assert made == dataclasses.replace(Tool(), **changed)  # type: ignore[arg-type]
    assert [type(getattr(made, key)) for key in changed] == [type(value) for value in changed.values()]


@pytest.mark.parametrize(
    ("option", "expected"),
    [
        ("size=2.5", "int"),
        ("size=true", "int"),
        ("size=none", "int"),
        ("size=big", "int"),
        ("size=", "int"),
        ("weight=heavy", "float"),
        ("weight=true", "float"),
        ("sharp=1", "bool"),
        ("sharp=yes", "bool"),
        ("limit=2.5", "int | None"),
        ("limit=true", "int | None"),
        ("reach=far", "float | None"),
        ("corner=3", "tuple[int, int]"),
        ("corner=(1,2,3)", "tuple[int, int]"),
        ("corner=(1,2.5)", "tuple[int, int]"),
        ("corner=[1,2]", "tuple[int, int]"),
        ("size=__import__('os')", "int"),
        ("size={[]:1}", "int"),
    ],
)
def test_a_value_that_cannot_be_read_is_named_with_what_was_expected(option: str, expected: str) -> None:
    key, value = option.split("=")
    with pytest.raises(InvalidOption) as error:
        TOOLS.make(f"tool:{option}")
    assert str(error.value) == f"tool tool: {key}={value!r} cannot be read: expected {expected}."


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("lagrang", "unknown forecaster 'lagrang'; the nearest is 'lagrange'"),
        ("Pade", "unknown forecaster 'Pade'; the nearest is 'pade'"),
        ("", "unknown forecaster ''"),
        ("zzzzzz", "Known: " + ", ".join(sorted(forecasters.REGISTRY))),
        ("chebyshev:rigde=1", "unknown option of forecaster chebyshev 'rigde'; the nearest is 'ridge'"),
        ("reuse:every=3", "unknown option of forecaster reuse 'every'.\nKnown: none"),
        ("pade:needs_gram=false", "unknown option of forecaster pade 'needs_gram'"),
        ("blend:first=taylr", "unknown forecaster 'taylr'; the nearest is 'taylor'"),
        ("blend:first=(lagrange:degre=2)", "unknown option of forecaster lagrange 'degre'; the nearest is 'degree'"),
    ],
)
def test_an_unknown_name_or_option_names_the_nearest(written: str, message: str) -> None:
    with pytest.raises(UnknownName) as error:
        forecasters.REGISTRY.make(written)
    assert message in str(error.value)
    assert isinstance(error.value, LookupError)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("interval:every", "option 'every' of 'interval:every' has no value"),
        ("interval:3", "option '3' of 'interval:3' has no value"),
        ("interval:every=3,,last=true", "option '' of"),
        ("interval:every=3,every=4", "option 'every' of 'interval:every=3,every=4' is given twice"),
        ("ends:policy=(interval:every=0)", "every=0 is out of range"),
    ],
)
def test_what_is_no_option_is_refused(written: str, message: str) -> None:
    with pytest.raises(InvalidOption) as error:
        policies.REGISTRY.make(written)
    assert message in str(error.value)


def test_names_and_options_are_split_outside_parentheses() -> None:
    assert parse("reuse") == parse(" reuse: ") == ("reuse", {})
    assert parse("a:x=1,y=(2,3),z=[4,5],w=(b:c=(6,7),d=8)") == (
        "a",
        {"x": "1", "y": "(2,3)", "z": "[4,5]", "w": "(b:c=(6,7),d=8)"},
    )
    assert parse("plan:steps=C=C")[1] == {"steps": "C=C"}


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("lagrange:degree=3", Lagrange(3)),
        ("pade:order=(2,1),guard=3", Pade((2, 1), 3.0)),
        ("tcpade:early=0.1,late=0.3", TCPade(early=0.1, late=0.3)),
        ("chebyshev:span=50,abscissa=time", Chebyshev(span=50, abscissa="time")),
        ("blend:first=taylor,share=1", Blend(first=Taylor(), share=1.0)),
        ("blend:second=(pade:order=(2,1)),share=0.25", Blend(second=Pade((2, 1)), share=0.25)),
        (
            "blend:first=(blend:second=(taylor:order=2)),second=(lagrange)",
            Blend(first=Blend(second=Taylor(2)), second=Lagrange()),
        ),
    ],
)
def test_forecasters_are_written(written: str, part: object) -> None:
    assert forecasters.REGISTRY.make(written) == part


@pytest.mark.parametrize(
    ("written", "part"),
    [
        ("plan:steps=CC..C", Plan("CC..C")),
        ("interval:every=3,last=false", Interval(3, last=False)),
        ("stability:threshold=1,indicator=curvature", Stability(1.0, indicator="curvature")),
        ("growing:growth=3", Growing(growth=3.0)),
        ("tolerance:warmup=2,last=true", Tolerance(warmup=2, last=True)),
        ("ends:policy=(interval:every=3,warmup=2),last=2", Ends(Interval(3, 2), last=2)),
        ("cap:policy=(ends:policy=(stability:every=5),first=3),limit=2", Cap(Ends(Stability(every=5), first=3), 2)),
    ],
)
def test_policies_are_written(written: str, part: object) -> None:
    assert policies.REGISTRY.make(written) == part


def test_options_may_be_given_as_values() -> None:
    assert configure(Pade, {"order": (2, 1), "guard": "3"}, "pade") == Pade((2, 1), 3.0)


# Names that are near, and those of a method's parts ------------------------------------------------------------------


@pytest.mark.fault("nearest name")
@pytest.mark.parametrize(
    ("asked", "near"),
    [
        *(("tcpade", "tc-pade"), ("TC-Pade", "tc-pade"), ("tc_pade_fast", "tc-pade-fast"), ("spectrm", "spectrum")),
        *(("taylor", "taylorseer"), ("tea-cache", "teacache"), ("lineer", "linear"), ("adaptiv", "adaptive")),
        *(("first", "first-block"), ("foar", "fora"), ("NONE", "none"), ("mag", "magcache"), ("hi cache", "hicache")),
        *(("nope", None), ("digits", None), ("flux", None), ("x", None), ("", None), ("no", None), ("tc", None)),
        *(
            ("cache", "hicache"),
            ("fast", None),
            ("sora", None),
            ("method", None),
            ("3", None),
            ("-", None),
            ("pad", "pade"),
        ),
        *(("every=3", None), ("adapt", "adaptive"), ("stability", None), ("wan", None), ("default", None)),
    ],
)
def test_the_nearest_method_is_named_only_where_one_is_near(asked: str, near: str | None) -> None:
    with pytest.raises(UnknownName) as error:
        method(asked)
    assert (f"; the nearest is {near!r}." in str(error.value)) == (near is not None)
    assert ("nearest" in str(error.value)) == (near is not None)


LINEAR = ", ".join(name for name, made in methods().items() if isinstance(made.forecaster, Lagrange))


@pytest.mark.fault("three names")
@pytest.mark.parametrize(
    ("make", "asked", "said"),
    [
        (forecasters.REGISTRY.make, "tc-pade", "the forecaster of tc-pade is called 'tcpade'"),
        (forecasters.REGISTRY.make, "linear", "the forecaster of linear is called 'lagrange'"),
        (forecasters.REGISTRY.make, "spectrum", "the forecaster of spectrum is called 'chebyshev'"),
        (forecasters.REGISTRY.make, "adaptive", "the forecaster of adaptive is called 'tcpade'"),
        (forecasters.REGISTRY.make, "fora", "the forecaster of fora is called 'reuse'"),
        (forecasters.REGISTRY.make, "TCPade", "the nearest is 'tcpade'"),
        (policies.REGISTRY.make, "tc-pade", "the policy of tc-pade is called 'spaced'"),
        (policies.REGISTRY.make, "teacache", "the policy of teacache is called 'accumulated'"),
        (policies.REGISTRY.make, "magcache", "the policy of magcache is called 'magnitude'"),
        (policies.REGISTRY.make, "adaptive", "the policy of adaptive is called 'tolerance'"),
        (policies.REGISTRY.make, "FirstBlock", "the nearest is 'first-block'"),
        (method, "chebyshev", "that is the forecaster of spectrum, spectrum-fast"),
        (method, "lagrange", f"that is the forecaster of {LINEAR}"),
        (method, "spaced", "that is the policy of tc-pade"),
        (method, "Tolerance", "that is the policy of adaptive"),
        (method, "Lagrange", f"that is the forecaster of {LINEAR}"),
        (method, "TCPade", "the nearest is 'tc-pade'"),
        (method, "reuse", "that is the forecaster of fora"),
    ],
)
def test_a_part_asked_for_by_anothers_name_is_told_its_own(make: Any, asked: str, said: str) -> None:
    with pytest.raises(UnknownName) as error:
        make(asked)
    assert said in str(error.value)
