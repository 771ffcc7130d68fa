"""padecast's trained demo models in ComfyUI: the same pictures as in diffusers, and how near forecasts come."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tests.comfy import demos, engine
from tests.comfy.models import FLUX, Run, sample
from torch import Tensor

import padecast
from padecast import CalibrationMismatch, zoo
from padecast.integrations import comfy as ours

STEPS = 20
CAPTIONS = {5: "a large red circle left of a small blue square", 6: "a striped yellow star on a dark green background"}
pytestmark = pytest.mark.filterwarnings("ignore:.*upcast_vae.*:FutureWarning")


def draw(seed: int) -> Tensor:
    return torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def scenes() -> Any:
    return demos.scenes()


def paint(model: Any, seed: int, scheduler: str = "simple", steps: int = STEPS) -> Tensor:
    """Return latents of a caption."""
    text, empty = demos.encode_scene(CAPTIONS[seed]), demos.encode_scene("")
    run = Run(FLUX, "euler", scheduler, steps, 1.0, positive=text, negative=empty, noise=draw(seed))
    return demos.latents_of(model, sample(model, run))


@pytest.fixture(scope="module")
def references(scenes: Any) -> dict[int, Tensor]:
    return {seed: paint(scenes, seed) for seed in CAPTIONS}


def judge(model: Any, references: dict[int, Tensor]) -> tuple[float, int]:
    """Return the mean PSNR to what is computed whole, and the most computed steps."""
    scores, counts = [], []
    for seed, reference in references.items():
        scores.append(demos.decibels(demos.show_scene(paint(model, seed)), demos.show_scene(reference)))
        report = ours.report_of(model)
        counts.append(STEPS if report is None else report.computed)
    return sum(scores) / len(scores), max(counts)


@pytest.mark.parametrize("steps", [5, pytest.param(STEPS, marks=pytest.mark.slow)])  # of which a thousand is a multiple
def test_28_scenes_paints_what_the_pipeline_does(scenes: Any, steps: int) -> None:
    pipe, seed = demos.pipeline("scenes"), 5
    packed = pipe._pack_latents(draw(seed), 1, 4, 16, 16)
    pipe.set_progress_bar_config(disable=True)
    latents = pipe(CAPTIONS[seed], latents=packed, num_inference_steps=steps, guidance_scale=3.5, output_type="latent")
    unpacked = pipe._unpack_latents(latents.images, 64, 64, pipe.vae_scale_factor)
    assert (paint(scenes, seed, steps=steps) - unpacked).abs().max() < 1e-5


@pytest.mark.slow  # many steps of a demo model
def test_28_motion_predicts_what_the_transformer_does() -> None:
    x = torch.randn(1, 16, 5, 8, 8, generator=torch.Generator().manual_seed(0))
    text, timestep = demos.encode_clip("a red circle moves right")[0][0], torch.tensor([600.0])
    with torch.no_grad():
        ours_, theirs = demos.motion().model.diffusion_model, demos.pipeline("motion").transformer
        reference = theirs(hidden_states=x, timestep=timestep, encoder_hidden_states=text, return_dict=False)[0]
        assert (ours_(x, timestep, text) - reference).abs().max() < 1e-4


@pytest.mark.slow  # many steps of a demo model
def test_29_adaptive_does_what_it_does_in_diffusers(scenes: Any, references: dict[int, Tensor]) -> None:
    pipe, seed = demos.pipeline("scenes"), 5
    pipe.set_progress_bar_config(disable=True)
    packed, model = pipe._pack_latents(draw(seed), 1, 4, 16, 16), ours.attach(scenes, "adaptive")
    # A sampler's steps cannot be taken again, as those of a pipeline's scheduler can.
    with padecast.accelerate(pipe, "adaptive:retrace=false") as run:
        pipe(CAPTIONS[seed], latents=packed, num_inference_steps=STEPS, guidance_scale=3.5, output_type="latent")
    score, computed = judge(model, {seed: references[seed]})
    report = ours.report_of(model)
    assert report is not None and report.plan == run.report.plan
    assert score >= 65 and computed <= 13


@pytest.mark.slow  # many steps of a demo model
def test_under_euler_what_is_paid_back_makes_the_picture_of_a_retraced_run(scenes: Any) -> None:
    """The scheduler of a pipeline is set back, and goes through forecast steps again; ComfyUI's samplers cannot be."""
    pipe, seed, method = demos.pipeline("scenes"), 5, "tc-pade:every=3"
    pipe.set_progress_bar_config(disable=True)
    packed = pipe._pack_latents(draw(seed), 1, 4, 16, 16)
    drawn = {}
    for retrace in (True, False):
        with padecast.accelerate(pipe, f"{method},retrace={str(retrace).lower()}"):
            given = {"num_inference_steps": STEPS, "guidance_scale": 3.5, "output_type": "latent"}
            latents = pipe(CAPTIONS[seed], latents=packed.clone(), **given).images
        drawn[retrace] = pipe._unpack_latents(latents, 64, 64, pipe.vae_scale_factor)
    gaps = {amend: paint(ours.attach(scenes, method, amend=amend), seed) - drawn[amend] for amend in (True, False)}
    apart = float((drawn[True] - drawn[False]).abs().max())
    assert float(gaps[False].abs().max()) < 1e-4 and float(gaps[True].abs().max()) < 0.02 * apart


@pytest.mark.slow  # many steps of a demo model
def test_29_adaptive_comes_nearer_than_easycache_with_fewer_steps(scenes: Any, references: dict[int, Tensor]) -> None:
    score, computed = judge(ours.attach(scenes, "adaptive:tolerance=0.003"), references)
    cached = engine.nodes("nodes_easycache").EasyCacheNode.execute(scenes, 0.2, 0.15, 0.95, False).args[0]
    calls: list[Any] = []
    # Below its wrapper, which leaves calls out: blocks run at computed steps alone.
    handle = scenes.model.diffusion_model.double_blocks[0].register_forward_pre_hook(lambda *_: calls.append(0))
    try:
        other, _ = judge(cached, references)
    finally:
        handle.remove()
    assert score >= 50 and computed <= 10 and computed < len(calls) / len(references) and score > other


@pytest.mark.slow  # many steps of a demo model
def test_29_a_calibration_of_diffusers_serves_comfyui(scenes: Any, references: dict[int, Tensor]) -> None:
    score, computed = judge(ours.attach(scenes, zoo.calibration("scenes", "20"), computed=8), references)
    assert score >= 60 and computed == 8


def test_30_noise_levels_are_those_of_diffusers(comfy: Any) -> None:
    import numpy as np
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / STEPS, STEPS), mu=1.15)
    flux = demos.scenes(shift=1.15)
    sigmas = comfy.samplers.calculate_sigmas(flux.get_model_object("model_sampling"), "simple", STEPS)
    torch.testing.assert_close(sigmas, scheduler.sigmas, rtol=0, atol=1e-6)


def test_30_a_calibration_for_other_noise_levels_is_refused(scenes: Any) -> None:
    model = ours.attach(scenes, zoo.calibration("scenes", "20"), computed=8)
    for scheduler in ("normal", "beta"):
        with pytest.raises(CalibrationMismatch, match=r"noise levels: 0\.\d+ apart at place"):
            paint(model, 5, scheduler)
    run = Run(FLUX, steps=STEPS, cfg=1.0, positive=demos.encode_scene("", 2.0), negative=[], noise=draw(5))
    with pytest.raises(CalibrationMismatch, match=r"guidance: this run has 2, the calibration 3\.5"):
        sample(model, run)


def test_30_the_shift_of_scenes_is_that_of_its_pipeline(comfy: Any, scenes: Any) -> None:
    assert scenes.get_model_object("model_sampling").shift == pytest.approx(math.log(3))


def test_30_a_plan_that_is_much_faster_than_wished_says_so(scenes: Any) -> None:
    with pytest.warns(padecast.PadecastWarning, match=r"speedup=1\.2 takes 10 of 20 computed steps, which is 2x"):
        ours.attach(scenes, zoo.calibration("scenes", "20"), speedup=1.2)
