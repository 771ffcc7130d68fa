"""A sample that is not finite changes none of its batch mates, and ends no saving for them."""

from __future__ import annotations

import contextlib
import math
import warnings
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline, FlowMatchEulerDiscreteScheduler
from tests.representative import CLASSES, representative
from tests.targets.batches import SINGLE, accelerated, broken, call, latents, levels
from tests.targets.case import noise
from tests.targets.test_models import CASES
from tests.tiny import dit
from torch import Tensor, nn

from padecast import Geometry, PadecastWarning, Position, Report, Session, Trace, accelerate
from padecast.forecasters import REGISTRY as FORECASTERS
from padecast.forecasters import Chebyshev, Forecaster, Lagrange, Reuse, TCPade, Wiener
from padecast.policies import Accumulated, FirstBlock, Plan, Policy, Rate, Stability, Tolerance

pytestmark = [
    pytest.mark.fault("samples that are not finite"),
    pytest.mark.filterwarnings("ignore:In CPU autocast"),  # Mochi asks for an autocast that a CPU has not
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated"),
]

NAN, INF = math.nan, math.inf
PLAN = "CC.C"
FIRST = {case.model: case for case in reversed(CASES) if case.model not in SINGLE}
FLUX, LISTED, TURNED, OPAQUE = (
    *("FluxTransformer2DModel", "ZImageTransformer2DModel"),
    *("ErnieImageTransformer2DModel", "UNet2DConditionModel"),
)
SPANS = (
    *((FLUX, "halves"), (FLUX, "modules"), (FLUX, "difference"), (FLUX, "output"), (LISTED, "modules")),
    *((LISTED, "output"), (LISTED, "difference"), (TURNED, "modules"), (OPAQUE, "output")),
)


@cache
def made(name: str) -> nn.Module:
    return FIRST[name].make()


@dataclass(frozen=True)
class Blind(Forecaster):
    """Repeats for the first sample of a batch, and goes wrong for the others."""

    def weights(self, geometry: Geometry, at: Position) -> Tensor:
        weights = torch.full((geometry.batch, len(geometry)), INF, dtype=torch.float64)
        weights[0] = 0
        weights[0, 0] = 1
        return weights


def run(
    name: str, forecaster: Forecaster | None = None, span: str = "full", value: float | None = None
) -> tuple[list[list[Tensor]], Report]:
    """What becomes of two samples, the second of which may be broken from the second step on; and the report."""
    case, model, outputs = FIRST[name], made(name), []
    with contextlib.ExitStack() as stack:
        on = None if forecaster is None else stack.enter_context(accelerated(model, PLAN, forecaster, span, len(PLAN)))
        for step, level in enumerate(levels(case, 3)):
            batch = latents(case, (10 * step, 10 * step + 1))
            outputs.append(call(case, model, broken(batch, 1, value) if value is not None and step else batch, level))
        return outputs, Report((), "", 0, (), "") if on is None else on.report


def firsts(outputs: list[list[Tensor]]) -> list[Tensor]:
    return [samples[0] for samples in outputs]


def equal(one: list[Tensor], two: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def notes(session: Session) -> set[str]:
    return {note for record in session.records for note in record.notes.values()}


# All models -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", representative(FIRST, CLASSES))
def test_a_broken_mate_of_any_model(name: str) -> None:
    expected, _ = run(name, TCPade())
    got, report = run(name, TCPade(), value=NAN)
    assert report.plan == PLAN[:3] and not report.notes
    assert equal(firsts(got), firsts(expected))


@pytest.mark.parametrize(("name", "span"), SPANS)
def test_a_broken_mate_in_any_span(name: str, span: str) -> None:
    expected, _ = run(name, TCPade(), span)
    got, report = run(name, TCPade(), span, INF)
    assert report.plan == PLAN[:3] and not report.notes
    assert equal(firsts(got), firsts(expected))


@pytest.mark.parametrize(("name", "span"), [*SPANS, (FLUX, "full"), (TURNED, "full"), (OPAQUE, "full")])
def test_a_sample_whose_forecast_alone_is_not_finite_is_computed(name: str, span: str) -> None:
    expected, _ = run(name, Reuse(), span)
    untouched, _ = run(name)
    got, report = run(name, Blind(), span)
    assert report.plan == PLAN[:3] and all("of some samples was not finite" in note for note in report.notes.values())
    assert report.notes
    assert equal(firsts(got), firsts(expected)) and not equal(firsts(got), firsts(untouched))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(got, untouched, strict=True))


# All that forecasts, stores and decides -------------------------------------------------------------------------------

STEPS = 14
LONG = "CCCC..C..C.C.."
STORED = {"as it is": {}, "float8": {"dtype": torch.float8_e4m3fn}, "float16": {"dtype": torch.float16}}


def walk(samples: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Residuals of every step that go neither straight nor in a circle, ``(T, B, N, D)``."""
    draw = torch.Generator().manual_seed(samples)
    time = torch.linspace(0, 3, STEPS)[:, None, None, None]
    parts = torch.randn(3, samples, 5, 4, generator=draw)
    return (parts[0] + parts[1] * time + parts[2] * time.sin()).to(dtype)


def sampled(
    policy: Policy,
    forecaster: Forecaster,
    residuals: Tensor,
    spoilt: tuple[int, float] | None = None,
    keep: tuple[int, ...] = (0, 1, 2),
    **stored: Any,
) -> tuple[Tensor, Session]:
    """Sample some of three samples, of which the second has a number in its input from some step on."""
    session, outputs = Session(policy, forecaster, STEPS, **stored), []
    for step, given in enumerate(inputs(residuals)):
        if spoilt is not None and step >= spoilt[0]:
            given[1, 0, 0] = spoilt[1]
        x, added = given[list(keep)], residuals[step][list(keep)]
        shown = x if policy.probe in ("modulated", "first-block") else None
        outputs.append(session.step(x, index=step, compute=lambda x=x, added=added: x + added, probe=shown))
    return torch.stack(outputs), session


def inputs(residuals: Tensor) -> Tensor:
    """What the stack is given at every step."""
    moves = 0.01 * residuals.nan_to_num(posinf=0)
    return 1 + moves.cumsum(0) - moves


@pytest.mark.parametrize("name", [name for name in FORECASTERS if name not in ("oracle", "toca")])
@pytest.mark.parametrize("stored", STORED)
@pytest.mark.parametrize("value", representative([NAN, -INF], ["nan"]), ids=str)
def test_a_broken_mate_and_any_forecaster(name: str, stored: str, value: float) -> None:
    residuals, forecaster = walk(3), FORECASTERS.make(name)
    expected, _ = sampled(Plan(LONG), forecaster, residuals, **STORED[stored])
    got, session = sampled(Plan(LONG), forecaster, residuals, (5, value), **STORED[stored])
    assert session.plan == LONG and not notes(session)
    assert torch.equal(got[:, [0, 2]], expected[:, [0, 2]]) and not got[6:, 1].isfinite().all()


DECIDES = (
    *(Tolerance(0.05), Tolerance(0.001), Stability(0.5, every=6), Stability(1.5), Accumulated(0.05)),
    *(FirstBlock(0.02), Rate(0.15), Rate(0.3)),
)


@pytest.mark.parametrize("policy", DECIDES, ids=lambda policy: str(policy)[:24])
@pytest.mark.parametrize("since", representative([0, 3, 8], ["0", "3"]))
@pytest.mark.parametrize("value", representative([NAN, INF], ["nan"]), ids=str)
def test_a_broken_mate_decides_nothing(policy: Policy, since: int, value: float) -> None:
    """The plan is that of the batch without it, and so are the images."""
    residuals = walk(1).expand(-1, 3, -1, -1)  # all alike, so that nothing but its being broken tells them apart
    expected, alone = sampled(policy, TCPade(), residuals, keep=(0, 2))
    got, session = sampled(policy, TCPade(), residuals, (since, value))
    assert session.plan == alone.plan and 2 < alone.plan.count("C") < STEPS
    torch.testing.assert_close(got[:, [0, 2]], expected)


@pytest.mark.parametrize("policy", [Tolerance(), Stability()], ids=lambda policy: type(policy).__name__)
def test_where_all_are_broken_a_step_is_computed(policy: Policy) -> None:
    geometry = Geometry.of(torch.full((3, 2, 4), NAN), [0, 1, 2])
    assert policy.computes(Position.at(3, 20), Trace().then(Position.at(2, 20), True), geometry)


def overflow(dtype: torch.dtype) -> Tensor:
    """Residuals of three samples, those of the second beyond the largest number at step 2."""
    residuals = walk(3, dtype)
    residuals[2, 1, 0, 0] = INF
    return residuals


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32], ids=str)
@pytest.mark.parametrize(
    "forecaster", [Reuse(), Lagrange(2), TCPade(), Chebyshev(), Wiener()], ids=lambda f: str(f)[:8]
)
def test_a_history_that_overflowed_is_its_own_affair(dtype: torch.dtype, forecaster: Forecaster) -> None:
    residuals = overflow(dtype)
    expected, _ = sampled(Plan(LONG), forecaster, walk(3, dtype))
    got, session = sampled(Plan(LONG), forecaster, residuals)
    assert torch.equal(got[:, [0, 2]], expected[:, [0, 2]]) and session.plan == LONG
    patched = [record.at.index for record in session.records if record.notes == {"": "non-finite sample"}]
    assert notes(session) <= {"non-finite sample"} and (patched or type(forecaster) in (Reuse, TCPade))
    for step in patched:
        assert torch.equal(got[step, 1], inputs(residuals)[step, 1] + residuals[step, 1])
    assert got[3:, 1].isfinite().all()


def test_alone_it_is_computed_and_remembered() -> None:
    _, session = sampled(Plan("CCC..CCCCCCCC."), Reuse(), overflow(torch.float32), keep=(1,))
    assert session.plan.startswith("CCCC.") and session.records[3].notes == {"": "non-finite"}


@pytest.mark.parametrize("value", [NAN, INF, -INF], ids=str)
def test_what_comes_in_broken_is_served_and_saves_what_the_plan_says(value: float) -> None:
    _, session = sampled(Plan(LONG), Lagrange(), walk(3), (0, value), keep=(1,))
    assert session.plan == LONG and not notes(session)


def test_two_forecasts_and_branches_are_patched_each_on_its_own() -> None:
    session, residuals = Session(Plan(LONG), Lagrange(2), STEPS), walk(3)
    for step, x in enumerate(inputs(residuals)):
        for branch in ("cond", "uncond"):
            added = overflow(torch.float32)[step] if branch == "cond" else residuals[step]
            session.step(x, index=step, compute=lambda x=x, added=added: x + added, branch=branch)
    assert session.plan == LONG
    assert {branch for record in session.records for branch in record.notes} == {"cond"}


def test_a_report_leaves_out_what_is_not_finite() -> None:
    _, session = sampled(Plan(LONG), TCPade(), walk(3), (5, NAN))
    for step in Report.of(session).steps[5:]:
        values = (step.stability, step.disagreement, step.gain, step.weight_sum)
        assert all(value is None or math.isfinite(value) for value in values)


# Whole pipelines ------------------------------------------------------------------------------------------------------


class Spoiling(DiffusionPipeline):
    """A DiT pipeline one of whose images turns into what is not a number."""

    def __init__(self, transformer: Any, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, seeds: tuple[int, ...], spoilt: int | None = None, value: float = NAN, steps: int = 8) -> Tensor:
        self.scheduler.set_timesteps(steps)
        x = torch.cat([noise(1, 4, 8, 8, seed=seed) for seed in seeds])
        for i, t in enumerate(self.scheduler.timesteps):
            guess = self.transformer(x, timestep=t.expand(len(x)), class_labels=torch.tensor(seeds)).sample
            x = self.scheduler.step(guess, t, x).prev_sample
            if i == 2 and spoilt is not None:
                x[spoilt] = value
        return x


METHODS = (  # all that look at features, and others
    *("linear", "tc-pade", "spectrum", "toca:every=3,fraction=0.5", "fora:every=3", "taylorseer:every=2", "hicache"),
    *(
        "delta-dit:every=2",
        "teacache:threshold=0.2",
        "first-block:threshold=0.3",
        "easycache:threshold=0.3",
        "adaptive:tolerance=0.05",
    ),
)


@pytest.mark.parametrize("method", METHODS)
def test_a_broken_image_in_a_pipeline(method: str) -> None:
    pipe = Spoiling(dit(), FlowMatchEulerDiscreteScheduler())
    with accelerate(pipe, method) as run:
        expected = pipe((3, 3, 3))
        plan = run.report.plan
        got = pipe((3, 3, 3), spoilt=1)
        assert run.report.plan == plan and not run.report.notes
    torch.testing.assert_close(got[[0, 2]], expected[[0, 2]])
    assert not got[1].isfinite().any()


@pytest.mark.slow
@pytest.mark.parametrize("whole", [False, True], ids=["blocks", "model"])
@pytest.mark.parametrize("forecaster", [Lagrange(), TCPade(), Blind()], ids=lambda f: type(f).__name__)
def test_a_broken_image_in_a_compiled_model(whole: bool, forecaster: Forecaster) -> None:
    pipe = Spoiling(dit(num_layers=1), FlowMatchEulerDiscreteScheduler())
    with accelerate(pipe, policy=Plan("CC.C."), forecaster=forecaster), warnings.catch_warnings():
        warnings.simplefilter("ignore", PadecastWarning)
        expected = pipe((3, 7), steps=5)
    if whole:
        pipe.transformer = torch.compile(pipe.transformer, backend="eager")
    else:
        for block in pipe.transformer.transformer_blocks:
            block.compile(backend="eager")
    with accelerate(pipe, policy=Plan("CC.C."), forecaster=forecaster) as run, warnings.catch_warnings():
        warnings.simplefilter("ignore", PadecastWarning)
        torch.testing.assert_close(pipe((3, 7), steps=5), expected)
        got = pipe((3, 7), spoilt=1, steps=5)
    assert run.report.plan == "CC.C."
    torch.testing.assert_close(got[0], expected[0])
    torch._dynamo.reset()
