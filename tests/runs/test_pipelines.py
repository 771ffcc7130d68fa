"""The real pipelines of many model families: each tells the model its timestep and its guidance in its own way."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest
import torch
from tests.representative import representative
from tests.runs.families_image import FLUX, OTHER_IMAGE, QWEN, STABLE_DIFFUSION
from tests.runs.families_video import OTHER_VIDEO, WAN
from tests.runs.family import (
    STEPS,
    Family,
    build,
    flow_unipc,
    masks,
    model,
    square,
    words,
)
from torch import Tensor

from padecast import accelerate, targets
from padecast.forecasters import Lagrange, Oracle
from padecast.hooks.blocks.spans import stack_of
from padecast.policies import Always, Plan
from padecast.session.record import NOTES

PLAN = "CC.C.C"
NFE = PLAN.count("C")

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),  # Mochi asks for an autocast that a CPU has not
    # diffusers hands torch tensors to numpy in a dozen schedulers; nothing of ours is involved.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated"),  # by the release that Chroma is in
]

FAMILIES: tuple[Family, ...] = (*FLUX, *STABLE_DIFFUSION, *QWEN, *WAN, *OTHER_VIDEO, *OTHER_IMAGE)
KINDS = (
    *("PixArtSigmaPipeline", "LattePipeline", "ErnieImagePipeline", "FluxInpaintPipeline", "CogVideoXPipeline"),
    *("Cosmos2TextToImagePipeline", "AuraFlowPipeline", "LTXImageToVideoPipeline", "MochiPipeline", "ZImagePipeline"),
    *("WanPipeline timestep per token", "Kandinsky5T2VPipeline", "StableDiffusion3Pipeline", "QwenImagePipeline"),
    "SanaPipeline",
)
"""Pipelines that together run every line that any does: one of every way to tell the timestep and the guidance."""
every_family = pytest.mark.parametrize("family", representative(FAMILIES, KINDS), ids=str)

# What is looked at ----------------------------------------------------------------------------------------------------


def count_blocks(pipe: Any, name: str = "transformer") -> list[int]:
    """Count how often each block of a pipeline's stack really runs, from now on."""
    owner = getattr(pipe, name)
    parts = stack_of(owner, targets.find(owner), "full").parts
    runs = [0] * len(parts)
    for place, part in enumerate(parts):

        def counting(*args: Any, _forward: Any = part.forward, _place: int = place, **kwargs: Any) -> Any:
            runs[_place] += 1
            return _forward(*args, **kwargs)

        part.forward = counting
    return runs


def forget(runs: list[int]) -> None:
    """Count anew."""
    runs[:] = [0] * len(runs)


class Stop(Exception):
    """Raised in the middle of a run."""


def stop(_: Any, step: int, __: Any, given: dict[str, Any]) -> dict[str, Any]:
    if step == 3:
        raise Stop
    return given


def calls_back(family: Family) -> bool:
    made = getattr(diffusers, family.name.split()[0])
    return "callback_on_step_end" in inspect.signature(made.__call__).parameters


@every_family
def test_a_family(family: Family) -> None:
    pipe = family.make()
    runs = count_blocks(pipe)
    untouched = family.sample(pipe)
    assert set(runs) == {STEPS * family.branches}
    assert bool(untouched.isfinite().all())

    with accelerate(pipe, policy=Always(), forecaster=Lagrange()) as run:
        assert torch.equal(family.sample(pipe), untouched), "all computed, and not bit-identical"
    assert (run.report.plan, run.report.unplaced, run.report.notes) == ("C" * STEPS, 0, {})
    assert len(run.report.branches) == family.branches

    with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()) as run:
        close(family.sample(pipe), untouched)
    assert run.report.plan == PLAN

    forget(runs)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        forecast = family.sample(pipe)
        assert set(runs) == {NFE * family.branches}
        assert (run.report.plan, run.report.unplaced, run.report.notes) == (PLAN, 0, {})
        assert torch.equal(family.sample(pipe), forecast), "the second run is not as the first"
        assert run.report.plan == PLAN
    assert set(runs) == {2 * NFE * family.branches}
    assert bool(forecast.isfinite().all())
    assert not torch.allclose(forecast, untouched, rtol=1e-3, atol=1e-3)

    if calls_back(family):
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
            with pytest.raises(Stop):
                family.sample(pipe, seed=4, callback_on_step_end=stop)
            assert torch.equal(family.sample(pipe), forecast), "an interrupted run leaves something to the next"
        assert run.report.plan == PLAN

    with accelerate(pipe, policy=Always(), forecaster=Lagrange(), span="output") as run:
        assert torch.equal(family.sample(pipe), untouched), "all computed at the output, and not bit-identical"
    forget(runs)
    with accelerate(pipe, "tc-pade:every=2.5") as run:
        ours = family.sample(pipe)
        assert set(runs) == {run.report.computed * family.branches} and run.report.forecast >= 2
        assert (run.report.unplaced, run.report.notes) == (0, {})
        assert torch.equal(family.sample(pipe), ours), "the second run is not as the first"
    assert bool(ours.isfinite().all()) and not torch.equal(ours, untouched)

    assert torch.equal(family.sample(pipe), untouched), "not as before"


def close(image: Tensor, untouched: Tensor) -> None:
    """Assert equality but for rounding, of which there is as much as the numbers are large."""
    torch.testing.assert_close(image, untouched, rtol=1e-4, atol=1e-4 * max(1.0, float(untouched.abs().max())))


# What some pipelines do in the middle of a run ------------------------------------------------------------------------


def named(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


def assert_right(family: Family, pipe: Any, plan: str, made: str, runs: list[int], **options: Any) -> Any:
    """Assert that exact runs are exact, and that a plan is followed as far as it can be; return the last report.

    ``made`` is what comes of the plan, ``runs`` how often each block runs then.
    """
    counts = count_blocks(pipe)
    untouched = family.sample(pipe, **options)
    with accelerate(pipe, policy=Always(), forecaster=Lagrange()):
        assert torch.equal(family.sample(pipe, **options), untouched)
    with accelerate(pipe, policy=Plan(plan), forecaster=Oracle()) as run:
        close(family.sample(pipe, **options), untouched)
    assert run.report.plan == made
    forget(counts)
    with accelerate(pipe, policy=Plan(plan), forecaster=Lagrange()) as run:
        forecast = family.sample(pipe, **options)
        assert counts == runs
        assert torch.equal(family.sample(pipe, **options), forecast)
    assert (run.report.plan, run.report.unplaced) == (made, 0)
    assert not torch.allclose(forecast, untouched, rtol=1e-3, atol=1e-3)
    assert torch.equal(family.sample(pipe, **options), untouched)
    return run.report


@pytest.mark.parametrize(
    ("name", "plan", "calls"),
    [
        ("StableDiffusion3Img2ImgPipeline", " C.C.C", 3),
        ("FluxInpaintPipeline", " C.C.C", 6),
        ("QwenImageImg2ImgPipeline", " C.C.C", 6),
        ("WanVideoToVideoPipeline", "  CC.C", 6),  # a forecast that was asked for before there was anything to know
    ],
)
def test_runs_from_the_middle_of_the_schedule(name: str, plan: str, calls: int) -> None:
    pipe = named(name).make()
    blocks = len(stack_of(pipe.transformer, targets.find(pipe.transformer), "full").parts)
    report = assert_right(named(name), pipe, PLAN, plan, [calls] * blocks, strength=0.7)
    assert set(report.notes.values()) <= {NOTES["begun late"]}


class TestTwoExperts:
    """Wan 2.2 has a model for the first steps and another one for the others."""

    def make(self, boundary: float) -> Any:
        second = model("WanTransformer3DModel")
        draw = torch.Generator().manual_seed(9)
        with torch.no_grad():
            for parameter in second.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
        first, fixed = model("WanTransformer3DModel"), {"scheduler": flow_unipc(), "boundary_ratio": boundary}
        return build("WanPipeline", first, transformer_2=second, **fixed)

    @pytest.mark.parametrize(
        ("boundary", "plan", "made", "computed"),
        [
            (0.8, "CC.C.C", "CC.C.C", (2, 2)),
            (0.9, "C.CC.C", "C.CC.C", (1, 3)),
            (0.9, "CC.C.C", "CCCC.C", (2, 3)),  # the second one has to compute before it can forecast
            (0.8, "C.....", "C..C..", (1, 1)),
        ],
    )
    def test_each_forecasts_itself(self, boundary: float, plan: str, made: str, computed: tuple[int, int]) -> None:
        family = named("WanPipeline timestep per token")
        pipe = self.make(boundary)
        untouched = family.sample(pipe)
        counts = count_blocks(pipe), count_blocks(pipe, "transformer_2")
        with accelerate(pipe, policy=Always(), forecaster=Lagrange()) as run:
            assert torch.equal(family.sample(pipe), untouched)
        assert run.report.plan == "C" * STEPS
        with accelerate(pipe, policy=Plan(plan), forecaster=Oracle()) as run:
            close(family.sample(pipe), untouched)
        assert run.report.plan == made
        for count in counts:
            forget(count)
        with accelerate(pipe, policy=Plan(plan), forecaster=Lagrange()) as run:
            forecast = family.sample(pipe)
            assert [set(count) for count in counts] == [{2 * times} for times in computed]
            assert torch.equal(family.sample(pipe), forecast)
        assert (run.report.plan, run.report.unplaced) == (made, 0)
        assert set(run.report.notes.values()) <= {NOTES["begun late"]}
        assert not torch.allclose(forecast, untouched, rtol=1e-3, atol=1e-3)
        assert torch.equal(family.sample(pipe), untouched)

    @pytest.mark.parametrize("boundary", [0.7, 0.8])
    def test_an_interrupted_run_leaves_nothing_to_the_next(self, boundary: float) -> None:
        family = named("WanPipeline timestep per token")
        fresh, pipe = self.make(boundary), self.make(boundary)
        with accelerate(fresh, policy=Plan(PLAN), forecaster=Lagrange()):
            expected = family.sample(fresh)
        with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()):
            with pytest.raises(Stop):
                family.sample(pipe, seed=4, callback_on_step_end=stop)
            assert torch.equal(family.sample(pipe), expected)


@pytest.mark.parametrize(
    ("layer", "runs", "branches"),
    [
        (0, [4, 8, 8], ("call 1",)),  # such calls do not pass through the whole stack: they are left alone
        (1, [6, 4, 6], ("call 1", "call 2")),
        (2, [8, 8, 4], ("call 1",)),
    ],
)
def test_guidance_by_leaving_out_a_block(layer: int, runs: list[int], branches: tuple[str, ...]) -> None:
    """Stable Diffusion 3 calls its transformer once more at some steps, without one of its blocks."""
    family = named("StableDiffusion3Pipeline")
    options = {"skip_guidance_layers": [layer], "skip_layer_guidance_stop": 0.7}
    assert assert_right(family, family.make(), PLAN, PLAN, runs, **options).branches == branches


def test_guidance_that_ends_early() -> None:
    """Lumina 2 makes the second call of a step only in the first steps."""
    family = named("Lumina2Pipeline")
    report = assert_right(family, family.make(), PLAN, PLAN, [6] * 3, cfg_trunc_ratio=0.5)
    assert report.notes == {}


def test_guidance_in_the_middle() -> None:
    """HunyuanVideo 1.5 leaves it to its guider at which steps there is a second call."""
    family = named("HunyuanVideo15Pipeline")
    pipe = family.make()
    pipe.guider = diffusers.ClassifierFreeGuidance(guidance_scale=3.0, start=0.3, stop=0.7)
    report = assert_right(family, pipe, PLAN, PLAN, [6] * 3)
    assert (report.branches, report.notes) == (("pred_cond", "pred_uncond"), {})


def test_a_batch_that_shrinks() -> None:
    """Z-Image leaves out the half of the batch that guides it in the last steps."""
    family = named("ZImagePipeline")
    report = assert_right(family, family.make(), "CC.CC.", "CC.CC.", [4] * 3, cfg_truncation=0.5)
    assert report.notes == {}
    with accelerate(pipe := family.make(), policy=Plan(PLAN), forecaster=Lagrange()) as run:
        family.sample(pipe, cfg_truncation=0.5)
    assert run.report.plan == "CC.CCC"
    assert run.report.notes == {"step 4, call 2": "computed because nothing was remembered for this branch"}


def test_a_long_video_in_pieces() -> None:
    """SkyReels V2 goes through the schedule once for every piece of a video, all in one call."""
    family = named("SkyReelsV2DiffusionForcingPipeline")
    pieces = {"num_frames": 9, "base_num_frames": 5, "overlap_history": 1, "addnoise_condition": 0}
    report = assert_right(family, family.make(), PLAN, PLAN, [2 * 2 * NFE] * 3, **pieces)
    assert report.notes == {}


def test_frames_that_are_not_at_the_same_step() -> None:
    """SkyReels V2 can let its first frames run ahead: calls at several places of the schedule at once have none."""
    family = named("SkyReelsV2DiffusionForcingPipeline")
    options = {"ar_step": 2, "causal_block_size": 1}
    pipe = family.make()
    untouched = family.sample(pipe, **options)
    with accelerate(pipe, "none") as run:
        assert torch.equal(family.sample(pipe, **options), untouched)
    assert run.report.unplaced > 0
    assert "their place in the schedule is unknown" in str(run.report)


def test_a_schedule_that_ends_with_what_is_no_step() -> None:
    """Sana Sprint leaves out the last entry of its scheduler's timesteps."""
    family = Family(
        "SanaSprintPipeline",
        lambda: build(
            "SanaSprintPipeline", model("SanaTransformer2DModel", "sprint"), scheduler=diffusers.SCMScheduler()
        ),
        lambda: (
            {"prompt_embeds": words(12), "use_resolution_binning": False, "intermediate_timesteps": None}
            | masks("prompt_attention_mask")
            | square(128)
        ),
        branches=1,
    )
    test_a_family(family)
    with accelerate(pipe := family.make(), policy="interval:every=4", forecaster="reuse") as run:
        family.sample(pipe)
    assert run.report.plan == "C...CC"
