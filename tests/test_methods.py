from __future__ import annotations

import dataclasses
import pickle
import re

import pytest
import torch

from padecast import InvalidOption, Method, Session, UnknownName, cite, forecasters, method, methods, policies
from padecast.forecasters import Forecaster, Pade
from padecast.forecasters.printed import Printed
from padecast.methods import DEFAULT
from padecast.methods.citations import BIBTEX
from padecast.policies import Policy

WHOLE = ("none", "learned", "budcache", "meancache")
"""Without lessons, and without a search, all is computed."""
every_method = pytest.mark.parametrize("name", list(methods()))


@every_method
def test_a_method_is_made_of_registered_parts(name: str) -> None:
    made = method(name)
    assert made == methods()[name] and made.name == name
    assert type(made.policy) in policies.REGISTRY.values() and isinstance(made.policy, Policy)
    assert type(made.forecaster) in forecasters.REGISTRY.values() and isinstance(made.forecaster, Forecaster)
    assert made.summary and "\n" not in made.summary
    spans = {"first-block": "rest", "easycache": "difference", "delta-dit": "halves", "toca": "modules"}
    whole = ("adaptive", "tc-pade", "learned", "l2p", "budcache", "meancache")
    spans |= dict.fromkeys(whole, "output")
    assert made.span == spans.get(name, "full")


@every_method
def test_a_method_runs(name: str) -> None:
    made = method(name)
    session = Session(made.policy, made.forecaster, total=20)
    for index in range(20):
        x = torch.full((2, 3, 4), 100 + 0.05 * index)
        out = session.step(x, index=index, compute=lambda x=x, index=index: x + 1 + 0.01 * index, probe=x)
        assert out.isfinite().all() and out.shape == x.shape
    assert session.plan.startswith("C") and len(session.plan) == 20
    assert ("." in session.plan) == (name not in WHOLE)


@every_method
def test_a_method_is_a_value(name: str) -> None:
    made = method(name)
    assert pickle.loads(pickle.dumps(made)) == made and hash(made) == hash(method(name))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.span = "double"  # type: ignore[misc]


def test_the_default_is_registered_and_the_table_is_a_copy() -> None:
    assert DEFAULT in methods()
    methods().clear()
    assert DEFAULT in methods()


def test_options_go_to_the_part_that_has_them() -> None:
    made, plain = method("tc-pade:every=3,guard=4,order=(2,1)"), method("tc-pade")
    assert made.policy == dataclasses.replace(plain.policy, every=3)  # type: ignore[call-arg]
    assert made.forecaster == dataclasses.replace(plain.forecaster, guard=4.0, order=(2, 1))  # type: ignore[call-arg]
    assert (made.name, made.cites, made.span) == (plain.name, plain.cites, plain.span)


def test_options_that_are_not_given_keep_the_methods_own_values() -> None:
    fast = method("tc-pade-fast:every=5").policy
    assert isinstance(fast, policies.Stability) and (fast.threshold, fast.every) == (0.7, 5)
    spectrum = method("spectrum-fast:ridge=1").forecaster
    assert isinstance(spectrum, forecasters.Chebyshev)
    assert spectrum == dataclasses.replace(method("spectrum-fast").forecaster, ridge=1.0)  # type: ignore[call-arg]


def test_the_span_is_an_option() -> None:
    assert method("fora:span=double").span == "double"
    assert method("fora:span=single,every=3").policy == policies.Interval(3)


def test_a_part_inside_a_part_is_an_option() -> None:
    made = dataclasses.replace(method("linear"), forecaster=forecasters.Feedback())
    inner = made.configured({"inner": "(pade:order=(2,1))"}).forecaster
    assert isinstance(inner, forecasters.Feedback) and inner.inner == Pade((2, 1))


def test_configuring_leaves_the_registered_method_alone() -> None:
    before = method("tc-pade")
    assert method("tc-pade").configured({"every": 2.5, "guard": "3"}).policy == policies.Spaced(2.5)
    assert method("tc-pade") == before and methods()["tc-pade"] == before


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("tcpade", "unknown method 'tcpade'; the nearest is 'tc-pade'"),
        ("Spectrum", "the nearest is 'spectrum'"),
        ("tc-pade:evry=3", "unknown option of method tc-pade 'evry'; the nearest is 'every'"),
        ("fora:order=2", "unknown option of method fora 'order'"),
        ("fora:policy=plan", "unknown option of method fora 'policy'"),
        ("fora:name=mine", "unknown option of method fora 'name'"),
    ],
)
def test_an_unknown_method_or_option_names_the_nearest(written: str, message: str) -> None:
    with pytest.raises(UnknownName) as error:
        method(written)
    assert message in str(error.value) and "Known:" in str(error.value)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("tc-pade:every=often", "method tc-pade: every='often' cannot be read: expected float"),
        ("tc-pade:every=0", "every=0.0 is out of range"),
        ("tc-pade-fast:threshold=3", "threshold=3.0 is out of range"),
        ("spectrum:ridge=-1", "ridge=-1.0 is out of range"),
        ("tc-pade:every", "has no value"),
    ],
)
def test_a_wrong_value_is_named(written: str, message: str) -> None:
    with pytest.raises(InvalidOption) as error:
        method(written)
    assert message in str(error.value)


def test_the_published_settings_are_the_published_ones_and_the_intervals_keep_their_speedups() -> None:
    thresholds = {}
    for name in ("tc-pade-fast", "tc-pade-slow", "tc-pade-careful"):
        policy = method(name).policy
        assert isinstance(policy, policies.Stability) and policy.indicator == "cosine"
        thresholds[name] = (policy.threshold, policy.every)
    assert thresholds == {"tc-pade-fast": (0.7, 4), "tc-pade-slow": (1.0, 3), "tc-pade-careful": (1.3, 2)}
    assert [policies.plan_of(method(name).policy, 50).count("C") for name in ("spectrum", "spectrum-fast")] == [14, 10]
    published = [name for name, made in methods().items() if isinstance(made.forecaster.extra, Printed)]
    assert published == ["tc-pade-published"]


# Citations -----------------------------------------------------------------------------------------------------------


@every_method
def test_every_method_can_be_cited(name: str) -> None:
    text = cite(name)
    entries = re.findall(r"^@(\w+)\{(\w+),$", text, flags=re.MULTILINE)
    assert entries[-1] == ("software", "padecast") and len(entries) == len(set(entries))
    assert len(entries) == len({*methods()[name].cites, "padecast"})
    assert text.count("{") == text.count("}") and text.count("@") == len(entries)
    for entry in text.split("\n\n"):
        assert {"title", "author", "year"} <= set(re.findall(r"^  (\w+) *= ", entry, flags=re.MULTILINE))


def test_no_citation_is_unused() -> None:
    assert set(BIBTEX) == {"padecast", *(key for made in methods().values() for key in made.cites)}


def test_a_method_that_is_not_there_cannot_be_cited() -> None:
    with pytest.raises(UnknownName, match="the nearest is 'spectrum'"):
        cite("spectrm")


def test_a_method_can_be_made_by_hand() -> None:
    made = Method("mine", policies.Interval(2), forecasters.Reuse(), "mine")
    assert made.configured({"every": "3"}).policy == policies.Interval(3)
