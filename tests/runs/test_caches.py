"""Models whose blocks fill a cache of keys and values: a forecast must leave out no call that does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import FlowMapEulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.models.transformers import transformer_wan_animate_2
from diffusers.models.transformers.transformer_glm_image import GlmImageKVCache
from PIL import Image
from tests.runs.family import Dimensions, build, flux2_vae, model, words
from tests.targets import cases_newer
from tests.targets.case import noise
from tests.targets.cases_more import glm
from torch import Tensor, nn

import padecast
from padecast import accelerate
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Always, Plan
from padecast.session.record import NOTES

STEPS = 6

pytestmark = [
    pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile"),  # AnyFlow's, on a CPU
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
]

Make = Callable[[], Any]
Sample = Callable[..., Tensor]


def fixed(seed: int) -> dict[str, Any]:
    return {"generator": torch.Generator().manual_seed(seed), "output_type": "latent", "return_dict": False}


# Whose first step fills it --------------------------------------------------------------------------------------------


def qwen21() -> Any:
    tokenizer = Dimensions(encode=lambda _: [7])
    template = Dimensions(apply_chat_template=lambda *_, **__: [[0]], tokenizer=tokenizer)
    pipe = build("QwenImage21Pipeline", model("QwenImage21Transformer2DModel"), processor=template)
    slots = torch.zeros(1, 5, dtype=torch.bool)
    pipe.encode_prompt = lambda prompt_embeds, **_: (prompt_embeds, None, slots)
    return pipe


def sample_qwen21(pipe: Any, seed: int = 3, **options: Any) -> Tensor:
    texts = {"prompt_embeds": words(12), "negative_prompt_embeds": words(12, seed=2), "true_cfg_scale": 3.0}
    size = {"height": 64, "width": 64, "num_inference_steps": STEPS}
    image: Tensor = pipe(**texts, **size, **fixed(seed), **options)[0]
    return image


def klein() -> Any:
    return build("Flux2KleinKVPipeline", model("Flux2Transformer2DModel", "without guidance"), vae=flux2_vae())


def sample_klein(pipe: Any, seed: int = 3, **options: Any) -> Tensor:
    reference = Image.new("RGB", (64, 64), (200, 90, 30))
    size = {"height": 64, "width": 64, "num_inference_steps": STEPS}
    image: Tensor = pipe(image=reference, prompt_embeds=words(12), **size, **fixed(seed), **options)[0]
    return image


FILLED = {"qwen": (qwen21, sample_qwen21, 2), "klein": (klein, sample_klein, 1)}
first_step = pytest.mark.parametrize(("make", "sample", "branches"), FILLED.values(), ids=FILLED.keys())


@first_step
@pytest.mark.parametrize("span", ["full", pytest.param("output", marks=pytest.mark.slow)])
def test_a_first_step_that_fills_it(make: Make, sample: Sample, branches: int, span: str) -> None:
    """Its tokens are more than those of the steps after it: no residual of it serves them."""
    pipe = make()
    untouched = sample(pipe)
    with accelerate(pipe, policy=Always(), forecaster=Lagrange(), span=span) as run:
        assert torch.equal(sample(pipe), untouched)
    assert (run.report.plan, len(run.report.branches), run.report.notes) == ("C" * STEPS, branches, {})
    with accelerate(pipe, policy=Plan("CC.C.C"), forecaster=Oracle(), span=span) as run:
        torch.testing.assert_close(sample(pipe), untouched, rtol=1e-4, atol=1e-5)
    assert run.report.plan == "CC.C.C"
    with accelerate(pipe, policy=Plan("C..C.C"), forecaster=Reuse(), span=span) as run:
        forecast = sample(pipe)
        assert torch.equal(sample(pipe), forecast), "the second run is not as the first"
    assert run.report.plan == "CC.C.C"
    assert set(run.report.notes.values()) == {NOTES["changed"]}
    assert bool(forecast.isfinite().all())
    assert not torch.equal(forecast, untouched)
    assert torch.equal(sample(pipe), untouched), "something was left behind"


def test_a_first_step_that_fills_it_is_learnt_from() -> None:
    pipe = qwen21()
    with accelerate(pipe, "learned", computed=4, lessons=False) as run:
        sample_qwen21(pipe, 1)
        assert run.report.computed == STEPS
        sample_qwen21(pipe, 2)
        assert run.report.computed == 4


@pytest.mark.parametrize("sketch", [0, 64])
def test_a_first_step_that_fills_it_is_not_calibrated(sketch: int) -> None:
    with pytest.raises(padecast.InvalidOption, match="step 0 on 'cond' has 168 numbers, and that of step 5 has 128"):
        padecast.calibrate(qwen21(), sample_qwen21, budgets=[4], seeds=range(2), sketch=sketch)


# Whose other calls fill it --------------------------------------------------------------------------------------------


class Referring:
    """A pipeline that has its transformer look at a reference before it samples, at the first timestep."""

    def __init__(self, transformer: nn.Module, given: Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]) -> None:
        self.transformer, self.scheduler = transformer, FlowMatchEulerDiscreteScheduler()
        self._given = given

    @torch.no_grad()
    def __call__(self, latents: Tensor, steps: int = STEPS) -> Tensor:
        """Sample."""
        reference, step = self._given(self.transformer)
        self.scheduler.set_timesteps(steps)
        self.transformer(timestep=self.scheduler.timesteps[:1], **reference)
        if "kv_caches" in step:
            step["kv_caches"].set_mode("read")
        for t in self.scheduler.timesteps:
            given = [latents[0]] if isinstance(reference["hidden_states"], list) else latents
            output = self.transformer(given, timestep=t[None], **step).sample
            velocity = torch.stack(list(output)) if isinstance(output, list) else output
            latents = self.scheduler.step(velocity, t, latents, return_dict=False)[0]
        return latents


def of_wan(transformer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    cache, given = transformer_wan_animate_2.WanAnimate2KVCache(3), cases_newer.wan_animate2()
    reference = {"hidden_states": [noise(4, 3, 4, 6, seed=103)], "offset_grid_sizes": cases_newer.GRID}
    size = {"origin_len": 8, "origin_area": [32, 48], "reference_grid_sizes": cases_newer.GRID}
    modes = [given | {"kv_cache": cache, "kv_cache_mode": mode} for mode in ("extract", "cached")]
    return modes[0] | reference, modes[1] | size


def of_glm(transformer: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    caches = GlmImageKVCache(num_layers=2)
    caches.set_mode("write")
    given = {**glm(), "kv_caches": caches}
    return {**given, "hidden_states": noise(1, 4, 8, 8, seed=9), "encoder_hidden_states": words(12, 0)}, given


def animated() -> Any:
    return Referring(model("WanAnimate2Transformer3DModel"), of_wan)


def edited() -> Any:
    return Referring(model("GlmImageTransformer2DModel"), of_glm)


def chunked() -> Any:
    """Make the pipeline that remembers every piece of a video for those after it."""
    return build("AnyFlowFARPipeline", model("AnyFlowFARTransformer3DModel"), scheduler=FlowMapEulerDiscreteScheduler())


def sample_chunked(pipe: Any, seed: int = 3) -> Tensor:
    size = {"height": 32, "width": 48, "num_frames": 9, "num_inference_steps": STEPS}
    video: Tensor = pipe(prompt_embeds=words(16), **size, **fixed(seed))[0]
    return video


def refining() -> Any:
    pipe = build("SanaWMLTX2Refiner", model("SanaWMLTX2RefinerTransformer3DModel"))
    pipe._encode_prompt = lambda *_, **__: (words(16), torch.ones(1, 5))
    return pipe


def sample_refined(pipe: Any, seed: int = 3) -> Tensor:
    sigmas = (0.9, 0.75, 0.6, 0.45, 0.3, 0.15, 0.0)
    draw = torch.Generator().manual_seed(seed)
    video: Tensor = pipe(
        noise(1, 4, 3, 4, 6, seed=5), "", fps=8.0, block_size=1, sigmas=sigmas, generator=draw, output_type="latent"
    )
    return video


FILLING: dict[str, tuple[Make, Sample]] = {
    "wan-animate": (animated, lambda pipe: pipe(noise(1, 4, 3, 4, 6, seed=7))),
    "glm": (edited, lambda pipe: pipe(noise(1, 4, 8, 8, seed=7))),
    "anyflow": (chunked, sample_chunked),
    "sana": (refining, sample_refined),
}


@pytest.mark.parametrize(
    "name", [name if name == "glm" else pytest.param(name, marks=pytest.mark.slow) for name in FILLING]
)
def test_calls_that_only_fill_it_are_no_steps(name: str) -> None:
    make, sample = FILLING[name]
    pipe = make()
    untouched = sample(pipe)
    with accelerate(pipe, policy=Always(), forecaster=Lagrange()) as run:
        assert torch.equal(sample(pipe), untouched)
    assert (run.report.plan, run.report.unplaced, run.report.notes) == ("C" * STEPS, 0, {})
    assert len(run.report.branches) == 1
    with accelerate(pipe, policy=Plan("CC.C.C"), forecaster=Oracle()) as run:
        torch.testing.assert_close(sample(pipe), untouched, rtol=1e-4, atol=1e-5)
    with accelerate(pipe, policy=Plan("C.C..C"), forecaster=Lagrange()) as run:
        forecast = sample(pipe)
        assert torch.equal(sample(pipe), forecast), "the second run is not as the first"
    assert (run.report.plan, run.report.notes) == ("C.C..C", {})
    assert not torch.equal(forecast, untouched)
    assert torch.equal(sample(pipe), untouched), "something was left behind"
