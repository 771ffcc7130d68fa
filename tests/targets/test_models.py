"""Every described class, tiny and with random weights: exact where it must be, skipped where it should be."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tests.representative import CLASSES, MODELS, representative
from tests.targets import cases_first, cases_image, cases_more, cases_newer, cases_video
from tests.targets.case import Case
from tests.tiny import footprint
from torch import Tensor, nn

from padecast import Position, Session, UnsupportedModel, targets
from padecast.forecasters import Forecaster, Lagrange, Oracle, Reuse
from padecast.hooks.attachment import Attachment
from padecast.hooks.blocks.spans import span_of, stack_of
from padecast.hooks.counting import Tick
from padecast.policies import Accumulated, FirstBlock, Plan, Policy, Rate

CASES = [
    case
    for cases in (cases_first, cases_image, cases_more, cases_newer, cases_video)
    for case in cases.CASES
    if case.model in targets.REGISTRY
]
every_case = pytest.mark.parametrize("case", representative(CASES, MODELS), ids=str)
DEAR = {"Kandinsky6SRTransformer3DModel"}
"""Classes whose smallest instance takes seconds."""
OPAQUE = ("Ideogram4", "ZImage", "Cosmos3Omni", "StableAudioDiT", "QwenImageT", "FluxT", "WanT", "UNet2DC", "OmniGen")
"""Beginnings of classes that together return and take all that any does, for what sees a model from outside."""
LEVELS = (0.9, 0.7, 0.5, 0.3)

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),  # Mochi asks for an autocast that a CPU has not
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),  # AnyFlow's, on a CPU
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated"),  # by the release that Chroma is in
]


class Hand:
    """Places calls where it is told to, whatever their timesteps say."""

    pipeline, steps = object(), None  # of which every call is made by hand
    has_grid, is_outdated, latest = True, False, None

    def __init__(self, total: int) -> None:
        self.index, self.total = 0, total

    def locate(self, *_: Any) -> Tick:
        return Tick(self.total, Position.at(self.index, self.total), self.index == 0)

    def nearest(self, levels: Any) -> Any:
        return levels

    def reset(self) -> None:
        pass

    def spend(self, *_: Any) -> None:
        pass


@contextlib.contextmanager
def attached(model: nn.Module, plan: str | Policy, forecaster: Forecaster, span: str = "full") -> Iterator[Attachment]:
    policy = Plan(plan) if isinstance(plan, str) else plan

    def session(total: int) -> Session:
        return Session(policy, forecaster, total)

    hand: Any = Hand(len(LEVELS))
    target = targets.find(model)
    parts = span_of(model, target, span, policy.probe)
    with Attachment(model, target, parts, hand, session, probe=policy.probe) as attachment:
        yield attachment


def run(case: Case, model: nn.Module, attachment: Attachment | None = None, moving: bool = True) -> list[list[Tensor]]:
    """Call the model at four noise levels with four latents, or four times alike."""
    outputs = []
    for i, level in enumerate(LEVELS):
        if attachment is not None:
            attachment.clock.index = i  # type: ignore[attr-defined]
        outputs.append(case.call(model, case.latent(i if moving else 0), level if moving else LEVELS[0]))
    return outputs


def same(one: list[list[Tensor]], two: list[list[Tensor]]) -> bool:
    return all(torch.equal(a, b) for x, y in zip(one, two, strict=True) for a, b in zip(x, y, strict=True))


def close(one: list[list[Tensor]], two: list[list[Tensor]]) -> None:
    for x, y in zip(one, two, strict=True):
        for a, b in zip(x, y, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5 * float(b.abs().max()) if b.numel() else 0)


def test_every_described_class_has_a_case() -> None:
    assert {case.model for case in CASES} == set(targets.REGISTRY)


@every_case
def test_a_model(case: Case) -> None:
    model = case.make()
    first, alike = footprint(model), run(case, model, moving=False)
    untouched, before = run(case, model), footprint(model)
    with attached(model, "CCCC", Reuse()) as on:
        assert same(run(case, model, on), untouched), "all computed, and not bit-identical"
    with attached(model, "C.C.", Oracle()) as on:
        close(run(case, model, on), untouched)
    with attached(model, "C.C.", Reuse()) as on:
        forecast = run(case, model, on, moving=False)
        assert on.session is not None and on.session.plan == "C.C."
    close(forecast, alike)  # where nothing moves, repeating the residual is right, and so is all that surrounds it
    assert same(run(case, model), untouched), "not as before"
    left = {name for name, held in footprint(model).items() if held != before[name]}
    assert left <= {name for name, held in before.items() if held != first[name]}, "something was left behind"


@pytest.mark.parametrize("case", representative(CASES, set(MODELS) - DEAR), ids=str)
def test_a_plan_runs_every_block_as_often_as_it_says(case: Case) -> None:
    model = case.make()
    parts = stack_of(model, targets.find(model), "full").parts
    runs = [0] * len(parts)
    for place, part in enumerate(parts):

        def counting(*args: Any, _forward: Any = part.forward, _place: int = place, **kwargs: Any) -> Any:
            runs[_place] += 1
            return _forward(*args, **kwargs)

        part.forward = counting
    untouched = run(case, model)
    runs[:] = [0] * len(parts)
    with attached(model, "CC.C", Lagrange(1)) as on:
        forecast = run(case, model, on)
    assert runs == [3] * len(parts)
    assert same(forecast[:2], untouched[:2]) and same(forecast[3:], untouched[3:])
    assert all(math.isfinite(float(x.sum())) for x in forecast[2] if x.numel())
    assert not same(forecast[2:3], untouched[2:3]), "a forecast that equals the model forecasts nothing"


FIRST = list({case.model: case for case in reversed(CASES)}.values())
WHOLE = [(case, "output") for case in FIRST] + [(case, "difference") for case in FIRST[:5]]
OUTPUTS = {str(case) for case in FIRST if case.model.startswith(OPAQUE)}
KINDS = {str(case) for case in FIRST if case.model in CLASSES}


@pytest.mark.parametrize(
    ("case", "span"),
    representative(WHOLE, OUTPUTS),
    ids=str,
)
def test_the_output_of_any_model_can_be_forecast(case: Case, span: str) -> None:
    model = case.make()
    untouched, alike = run(case, model), run(case, model, moving=False)
    with attached(model, "CCCC", Reuse(), span) as on:
        assert same(run(case, model, on), untouched)
    with attached(model, "C.C.", Reuse(), span) as on:
        close(run(case, model, on, moving=False), alike)
        assert on.session is not None and on.session.plan == "C.C."


def looked_at(case: Case, always: Policy, never: Policy, span: str) -> tuple[str, str]:
    """The plans of a policy that looks before it decides, with both extremes of its threshold."""
    model = case.make()
    first = footprint(model)
    untouched, before = run(case, model), footprint(model)
    with attached(model, always, Reuse(), span) as on:
        assert same(run(case, model, on), untouched), "all computed, and not bit-identical"
        computed = on.session.plan  # type: ignore[union-attr]
    with attached(model, never, Reuse(), span) as on:
        run(case, model, on)
        forecast = on.session.plan  # type: ignore[union-attr]
    assert same(run(case, model), untouched)
    left = {name for name, held in footprint(model).items() if held != before[name]}
    assert left <= {name for name, held in before.items() if held != first[name]}, "something was left behind"
    return computed, forecast


SEEN = [case for case in FIRST if not targets.REGISTRY[case.model].opaque]
MODULATED = [case for case in FIRST if targets.REGISTRY[case.model].modulated]


@pytest.mark.parametrize("case", representative(SEEN, KINDS), ids=str)
def test_the_first_block_decides_and_runs_always(case: Case) -> None:
    assert looked_at(case, FirstBlock(1e-9), FirstBlock(1e9), "rest") == ("CCCC", "C...")


@pytest.mark.parametrize("case", MODULATED, ids=str)
def test_the_modulated_input_decides(case: Case) -> None:
    assert looked_at(case, Accumulated(1e-9), Accumulated(1e9), "full") == ("CCCC", "C..C")


@pytest.mark.parametrize("case", representative(FIRST, OUTPUTS), ids=str)
def test_the_latents_decide(case: Case) -> None:
    if case.model == "Cosmos3OmniTransformer":  # is given text first
        with pytest.raises(UnsupportedModel, match="holds no latents"):
            looked_at(case, Rate(1e-9), Rate(1e9), "output")
    else:
        assert looked_at(case, Rate(1e-9), Rate(1e9), "output") == ("CCCC", "CC.C")


UNDESCRIBED = (
    *("SD3Transformer2DModel", "FluxTransformer2DModel", "WanTransformer3DModel", "DiTTransformer2DModel"),
    *("QwenImageTransformer2DModel", "LTXVideoTransformer3DModel", "PixArtTransformer2DModel"),
    *("SanaTransformer2DModel", "UNet2DConditionModel", "HunyuanVideoTransformer3DModel"),
)


@pytest.mark.parametrize("name", UNDESCRIBED)
def test_a_class_that_nobody_described(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = next(case for case in CASES if case.model == name)
    model = case.make()
    monkeypatch.delitem(targets.REGISTRY, case.model)
    untouched, alike = run(case, model), run(case, model, moving=False)
    target = targets.find(model, "output")
    for plan, moving, expected in (("CCCC", True, untouched), ("C.C.", False, alike)):
        hand: Any = Hand(4)
        parts = span_of(model, target, "output")
        with Attachment(model, target, parts, hand, lambda _, plan=plan: Session(Plan(plan), Reuse(), 4)) as on:
            close(run(case, model, on, moving=moving), expected)
    assert same(run(case, model), untouched)
    with pytest.raises(UnsupportedModel, match='span="output"'):
        targets.find(model)
