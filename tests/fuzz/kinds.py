"""What is fuzzed: pipelines with tiny models, what they may be told, and how they are sampled."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from diffusers import DiTTransformer2DModel
from tests import tiny
from tests.runs import family
from torch import Tensor, nn

Between = Callable[[int], None]
Sample = Callable[[Any, "Run", Between], Tensor]


@dataclass(frozen=True)
class Run:
    """What one run is told.

    Args:
        steps: Of the schedule.
        batch: Images at once.
        guided: Whether classifier-free guidance is on.
        strength: How much of its schedule a run that starts from an image goes through.
        seed: Of the noise.
        trained: Whether gradients are taken too, where there is no pipeline that switches them off.
    """

    steps: int = 3
    batch: int = 1
    guided: bool = True
    strength: float = 0.6
    seed: int = 3
    trained: bool = False

    @property
    def start(self) -> int:
        """The first step of a run that starts from an image."""
        return self.steps - max(1, int(self.steps * self.strength))


@dataclass(frozen=True, eq=False)
class Kind:
    """One kind of pipeline.

    Args:
        name: In the names of the tests.
        models: Builds its models, of a seed.
        pipelines: What is built around the models, by role; the first is what a sequence begins with.
        sample: ``sample(pipe, run, between)`` draws images, and calls ``between(step)`` after every step.
        schedulers: What may be set on a pipeline; the first is its usual one.
        calls: How often a step calls a model, with guidance.
        share: Sequences of a hundred.
        length: Steps of every run, where the schedule is not known. Default any.
    """

    name: str
    models: Callable[[int], dict[str, nn.Module]]
    pipelines: dict[str, Callable[..., Any]]
    sample: Sample
    schedulers: dict[str, Callable[[], Any]]
    calls: int
    share: int
    length: int | None = None

    def __str__(self) -> str:
        return self.name

    def draw(self, pipe: Any, run: Run, between: Between = lambda step: None) -> Tensor:
        """Sample, with the global generator set, from which some schedulers draw."""
        torch.manual_seed(run.seed)
        return self.sample(pipe, run, between).detach()

    def target(self, pipe: Any) -> Any:
        """What is accelerated: the pipeline, or the model where there is none."""
        return pipe.transformer if self.length else pipe

    def models_of(self, pipe: Any) -> dict[str, nn.Module]:
        names = ("transformer", "transformer_2", "unet")
        return {name: model for name in names if isinstance(model := getattr(pipe, name, None), nn.Module)}


# What pipelines are told ----------------------------------------------------------------------------------------------


def generator(run: Run) -> torch.Generator:
    return torch.Generator().manual_seed(run.seed)


def callback(between: Between) -> dict[str, Any]:
    def call(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        between(step)
        return {}

    return {"callback_on_step_end": call, "output_type": "latent"}


def texts(run: Run, dtype: torch.dtype, width: int, pooled: int = 0) -> dict[str, Tensor]:
    shapes = {"prompt_embeds": (5, width), "negative_prompt_embeds": (5, width)}
    if pooled:
        shapes |= {"pooled_prompt_embeds": (pooled,), "negative_pooled_prompt_embeds": (pooled,)}
    draw = torch.Generator().manual_seed(2)
    return {name: torch.randn(run.batch, *shape, generator=draw).to(dtype) for name, shape in shapes.items()}


def size_or_image(pipe: Any, run: Run) -> dict[str, Any]:
    told: dict[str, Any] = {} if "StableDiffusionImg2Img" in type(pipe).__name__ else {"height": 16, "width": 16}
    if "Img2Img" in type(pipe).__name__:
        told |= {"image": family.picture(16).repeat(run.batch, 1, 1, 1), "strength": run.strength}
    return told


@functools.cache
def vae(channels: int) -> Any:
    return tiny.vae(channels)


# A loop with every liberty, as a pipeline and by hand -----------------------------------------------------------------


class Guided(diffusers.DiffusionPipeline):
    """A DiT pipeline that calls its model once a branch, opens no cache context, and may start in the middle."""

    begins_in_the_middle = False

    def __init__(self, transformer: DiTTransformer2DModel, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler)

    @torch.no_grad()
    def __call__(self, run: Run, between: Between) -> Tensor:
        self.scheduler.set_timesteps(run.steps)
        start = (len(self.scheduler.timesteps) * run.start // run.steps) if self.begins_in_the_middle else 0
        if start and hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(start)
        latents = latent(run)
        for i, t in enumerate(self.scheduler.timesteps[start:]):
            scale = getattr(self.scheduler, "scale_model_input", lambda x, t: x)
            guess = guess_of(self.transformer, scale(latents, t), t, run)
            latents = self.scheduler.step(guess, t, latents).prev_sample
            between(i)
        return latents


class GuidedFromTheMiddle(Guided):
    """The same, from an image."""

    begins_in_the_middle = True


def latent(run: Run) -> Tensor:
    return torch.randn(run.batch, 4, 8, 8, generator=generator(run))


def guess_of(model: Any, x: Tensor, t: Tensor, run: Run) -> Tensor:
    def call(label: int) -> Tensor:
        labels = torch.full((len(x),), label)
        guess: Tensor = model(x.to(model.dtype), timestep=t.expand(len(x)), class_labels=labels).sample
        return guess.to(x.dtype)

    guess = call(3)
    if run.guided:
        empty = call(1000)
        guess = empty + 2.0 * (guess - empty)
    return guess


def by_hand(pipe: Any, run: Run, between: Between) -> Tensor:
    """Draw without a pipeline; returns the gradients of the image too, where they are taken."""
    x = latent(run)
    with torch.set_grad_enabled(run.trained):
        for i, t in enumerate(torch.linspace(980, 20, run.steps)):
            x = x - 0.2 * guess_of(pipe.transformer, x, t, run)
            between(i)
    weights = [weight for weight in pipe.transformer.parameters() if weight.requires_grad] if run.trained else []
    loss = x.square().sum()
    gradients = torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True) if weights else ()
    return torch.cat([x.flatten(), *(gradient.flatten() for gradient in gradients)])


# Kinds ----------------------------------------------------------------------------------------------------------------


def dit(seed: int) -> dict[str, nn.Module]:
    return {"transformer": tiny.dit(seed, num_layers=2)}


def flux(seed: int) -> dict[str, nn.Module]:
    return {"transformer": tiny.flux(seed, num_layers=1, num_single_layers=2)}


def sd3(seed: int) -> dict[str, nn.Module]:
    model = family.model("SD3Transformer2DModel", num_layers=2)
    with torch.no_grad():
        next(model.parameters()).add_(seed)
    return {"transformer": model}


def experts(seed: int) -> dict[str, nn.Module]:
    return {"transformer": tiny.wan(2 * seed), "transformer_2": tiny.wan(2 * seed + 1)}


def unet(seed: int) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    return {
        "unet": diffusers.UNet2DConditionModel(
            sample_size=8,
            block_out_channels=(8, 16),
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=8,
            attention_head_dim=2,
            norm_num_groups=4,
        ).eval()
    }


def around(kind: str, **fixed: Any) -> Callable[..., Any]:
    """Return what builds a pipeline of diffusers around its models and scheduler."""

    def make(**parts: Any) -> Any:
        channels = fixed.get("vae")
        given = {**fixed, **({"vae": vae(channels)} if channels else {}), **parts}
        return family.build(kind, given.pop("transformer", None), **given)

    return make


def stable(kind: str) -> Callable[..., Any]:
    def make(unet: nn.Module, scheduler: Any) -> Any:
        absent = dict.fromkeys(("text_encoder", "tokenizer", "feature_extractor", "safety_checker"))
        parts = {"unet": unet, "scheduler": scheduler, "vae": vae(4), **absent}
        return tiny.quiet(getattr(diffusers, kind)(**parts, requires_safety_checker=False))

    return make


def draw_flux(pipe: Any, run: Run, between: Between) -> Tensor:
    told = texts(run, pipe.transformer.dtype, 8, pooled=8) | size_or_image(pipe, run) | callback(between)
    scale = 3.0 if run.guided else 1.0
    return pipe(num_inference_steps=run.steps, true_cfg_scale=scale, generator=generator(run), **told).images


def draw_sd3(pipe: Any, run: Run, between: Between) -> Tensor:
    told = texts(run, pipe.transformer.dtype, 12, pooled=10) | size_or_image(pipe, run) | callback(between)
    scale = 3.0 if run.guided else 1.0
    return pipe(num_inference_steps=run.steps, guidance_scale=scale, generator=generator(run), **told).images


def draw_wan(pipe: Any, run: Run, between: Between) -> Tensor:
    told = texts(run, pipe.transformer.dtype, 8) | callback(between)
    fixed = {"height": 16, "width": 16, "num_frames": 5, "guidance_scale": 3.0 if run.guided else 1.0}
    return pipe(num_inference_steps=run.steps, generator=generator(run), **fixed, **told).frames


def draw_unet(pipe: Any, run: Run, between: Between) -> Tensor:
    told = texts(run, pipe.unet.dtype, 8) | size_or_image(pipe, run) | callback(between)
    scale = 3.0 if run.guided else 1.0
    return pipe(num_inference_steps=run.steps, guidance_scale=scale, generator=generator(run), **told).images


def scheduler(name: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(diffusers, f"{name}Scheduler")(**options)


def discrete(name: str, **options: Any) -> Callable[[], Any]:
    return scheduler(name, steps_offset=1, **options)  # as a Stable Diffusion makes them when it is built


DISCRETE = {
    "DDIM": discrete("DDIM", clip_sample=False),
    "Euler": discrete("EulerDiscrete"),
    "Heun": discrete("HeunDiscrete"),
    "UniPC": discrete("UniPCMultistep"),
    "DPM++": discrete("DPMSolverMultistep"),
    "SDE": discrete("DPMSolverMultistep", algorithm_type="sde-dpmsolver++"),
    "ancestral": discrete("EulerAncestralDiscrete"),
    "PNDM": discrete("PNDM", skip_prk_steps=True),
}
FLOW_SIGMAS: dict[str, Any] = {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": 3.0}
FLOW = {
    "flow": scheduler("FlowMatchEulerDiscrete"),
    "stochastic flow": scheduler("FlowMatchEulerDiscrete", stochastic_sampling=True),
    "flow UniPC": scheduler("UniPCMultistep", **FLOW_SIGMAS),
    "flow DPM++": scheduler("DPMSolverMultistep", **FLOW_SIGMAS),
    "flow SDE": scheduler("DPMSolverMultistep", algorithm_type="sde-dpmsolver++", **FLOW_SIGMAS),
}
FLOW_HEUN = {"flow Heun": scheduler("FlowMatchHeunDiscrete")}

KINDS = (
    Kind(
        "guided",
        dit,
        {"text": Guided, "image": GuidedFromTheMiddle},
        lambda pipe, run, between: pipe(run, between),
        {"flow": FLOW["flow"], **DISCRETE, **FLOW_HEUN},
        calls=2,
        share=38,
    ),
    Kind(
        "sd3",
        sd3,
        {
            "text": around("StableDiffusion3Pipeline", vae=4),
            "image": around("StableDiffusion3Img2ImgPipeline", vae=4),
        },
        draw_sd3,
        {**FLOW, **FLOW_HEUN},
        calls=1,
        share=22,
    ),
    Kind("bare", dit, {"hand": SimpleNamespace}, by_hand, {"none": lambda: None}, calls=2, share=18, length=4),
    Kind(
        "flux",
        flux,
        {
            "text": around("FluxPipeline", vae=1, **tiny.no_text()),
            "image": around("FluxImg2ImgPipeline", vae=1, **tiny.no_text()),
        },
        draw_flux,
        {name: FLOW[name] for name in ("flow", "stochastic flow", "flow UniPC")},
        calls=2,
        share=12,
    ),
    Kind(
        "unet",
        unet,
        {"text": stable("StableDiffusionPipeline"), "image": stable("StableDiffusionImg2ImgPipeline")},
        draw_unet,
        DISCRETE,
        calls=1,
        share=4,
    ),
    Kind(
        "experts",
        experts,
        {"text": around("WanPipeline", boundary_ratio=0.8)},
        draw_wan,
        {"flow UniPC": FLOW["flow UniPC"], "flow": FLOW["flow"], "flow DPM++": FLOW["flow DPM++"]},
        calls=2,
        share=6,
    ),
)
