"""Tiny models with random weights, and pipelines around them: nothing is downloaded, a step takes milliseconds."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DiffusionPipeline,
    DiTPipeline,
    DiTTransformer2DModel,
    FlowMatchEulerDiscreteScheduler,
    FluxControlNetModel,
    FluxControlNetPipeline,
    FluxImg2ImgPipeline,
    FluxPipeline,
    FluxTransformer2DModel,
    UniPCMultistepScheduler,
    WanPipeline,
    WanTransformer3DModel,
)
from torch import Tensor, nn

PLAN = "CC..C..C"
STEPS = len(PLAN)
NFE = PLAN.count("C")

# Models ---------------------------------------------------------------------------------------------------------------


def dit(seed: int = 0, **changes: Any) -> DiTTransformer2DModel:
    torch.manual_seed(seed)
    shape = {"num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 3, "sample_size": 8, "patch_size": 2}
    channels = {"in_channels": 4, "out_channels": 4, "num_embeds_ada_norm": 1000, "norm_num_groups": 1}
    return DiTTransformer2DModel(**{**shape, **channels, **changes}).eval()


def flux(seed: int = 0, **changes: Any) -> FluxTransformer2DModel:
    torch.manual_seed(seed)
    shape = {"num_layers": 2, "num_single_layers": 3, "attention_head_dim": 16, "num_attention_heads": 2}
    widths = {"in_channels": 4, "joint_attention_dim": 8, "pooled_projection_dim": 8, "axes_dims_rope": (4, 4, 8)}
    return FluxTransformer2DModel(**{**shape, **widths, **changes}).eval()


def wan(seed: int = 0) -> WanTransformer3DModel:
    torch.manual_seed(seed)
    return WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=8,
        freq_dim=16,
        ffn_dim=32,
        num_layers=3,
        rope_max_seq_len=32,
    ).eval()


def vae(channels: int) -> AutoencoderKL:
    torch.manual_seed(1)
    return AutoencoderKL(
        block_out_channels=(4, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=2,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.1,
        scaling_factor=0.5,
    ).eval()


# Pipelines ------------------------------------------------------------------------------------------------------------


def quiet(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def dit_pipeline(**parts: Any) -> DiTPipeline:
    return quiet(DiTPipeline(**{"transformer": dit(), "vae": vae(4), "scheduler": DDIMScheduler(), **parts}))


def sample_dit(pipe: Any, steps: int = STEPS, labels: tuple[int, ...] = (3, 7), **options: Any) -> Tensor:
    generator = [torch.Generator().manual_seed(label) for label in labels]
    options = {"generator": generator, "num_inference_steps": steps, "output_type": "pt", **options}
    return pipe(list(labels), **options).images


def no_text() -> dict[str, None]:
    return dict.fromkeys(("text_encoder", "tokenizer", "text_encoder_2", "tokenizer_2"))


def flux_pipeline(kind: Any = FluxPipeline, **parts: Any) -> Any:
    scheduler = FlowMatchEulerDiscreteScheduler()
    return quiet(kind(**{"transformer": flux(), "vae": vae(1), "scheduler": scheduler, **no_text(), **parts}))


def flux_prompt(count: int = 1) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(2)
    names = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds", "negative_pooled_prompt_embeds")
    return {name: torch.randn((count, 8) if "pooled" in name else (count, 5, 8), generator=draw) for name in names}


def sample_flux(pipe: Any, steps: int = STEPS, seed: int = 3, size: int = 16, **options: Any) -> Tensor:
    fixed = {"num_inference_steps": steps, "height": size, "width": size, "output_type": "latent"}
    options = {**fixed, "true_cfg_scale": 3.0, "generator": torch.Generator().manual_seed(seed), **options}
    return pipe(**{**flux_prompt(), **options}).images


def flux_image_to_image(**parts: Any) -> FluxImg2ImgPipeline:
    return flux_pipeline(FluxImg2ImgPipeline, **parts)


def flux_controlnet(**parts: Any) -> FluxControlNetPipeline:
    torch.manual_seed(4)
    net = FluxControlNetModel(
        num_layers=2,
        num_single_layers=3,
        attention_head_dim=16,
        num_attention_heads=2,
        in_channels=4,
        joint_attention_dim=8,
        pooled_projection_dim=8,
        axes_dims_rope=(4, 4, 8),
    ).eval()
    for projection in (*net.controlnet_blocks, *net.controlnet_single_blocks):
        nn.init.normal_(projection.weight)  # they start as zeros, and a control that adds nothing tests nothing
    return flux_pipeline(FluxControlNetPipeline, controlnet=net, **parts)


def wan_pipeline(**parts: Any) -> WanPipeline:
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)
    fixed = {"transformer": wan(), "scheduler": scheduler, "vae": None, "text_encoder": None, "tokenizer": None}
    return quiet(WanPipeline(**{**fixed, **parts}))


def sample_wan(pipe: Any, steps: int = STEPS, seed: int = 3, size: int = 32, **options: Any) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    prompts = {name: torch.randn(1, 6, 8, generator=draw) for name in ("prompt_embeds", "negative_prompt_embeds")}
    fixed = {"num_inference_steps": steps, "height": size, "width": size, "num_frames": 5, "output_type": "latent"}
    options = {**fixed, **prompts, "generator": torch.Generator().manual_seed(seed), **options}
    return pipe(**options).frames


class Loop(DiffusionPipeline):
    """A DiT pipeline with separate guidance that opens no cache context, with every liberty that pipelines take.

    Call it with: ``start`` (a run from the middle of the schedule), ``guided`` (whether a step has a second branch),
    ``scale`` and ``dtype`` (what becomes of the timestep before the model sees it) and ``between`` (called after each
    step).
    """

    def __init__(self, transformer: Any, scheduler: Any) -> None:
        super().__init__()
        self.register_modules(transformer=transformer, scheduler=scheduler)

    @torch.no_grad()
    def __call__(
        self,
        steps: int = STEPS,
        seed: int = 0,
        start: int = 0,
        guided: Callable[[int], bool] = lambda i: True,
        scale: float = 1.0,
        dtype: torch.dtype = torch.float32,
        between: Callable[[int], None] = lambda i: None,
    ) -> Tensor:
        self.scheduler.set_timesteps(steps)
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        if start:
            self.scheduler.set_begin_index(start)
        for i, t in enumerate(self.scheduler.timesteps[start:]):
            x = (
                self.scheduler.scale_model_input(latents, t)
                if hasattr(self.scheduler, "scale_model_input")
                else latents
            )
            time = (t.to(dtype) * scale).expand(1)
            guess = self.transformer(x, timestep=time, class_labels=torch.tensor([3])).sample
            if guided(i):
                empty = self.transformer(x, timestep=time, class_labels=torch.tensor([1000])).sample
                guess = empty + 2.0 * (guess - empty)
            latents = self.scheduler.step(guess, t, latents).prev_sample
            between(i)
        return latents


def loop(scheduler: Any = None, transformer: Any = None) -> Loop:
    return Loop(transformer or dit(), scheduler or FlowMatchEulerDiscreteScheduler())


# What is looked at ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Family:
    """A pipeline, how to sample with it, and how often it calls its transformer in a step."""

    name: str
    make: Callable[..., Any]
    sample: Callable[..., Tensor]
    branches: int

    def __str__(self) -> str:
        return self.name


FAMILIES = (
    Family("dit", dit_pipeline, sample_dit, 1),
    Family("flux", flux_pipeline, sample_flux, 2),
    Family("wan", wan_pipeline, sample_wan, 2),
)
LISTS = ("transformer_blocks", "single_transformer_blocks", "blocks")


def blocks(model: nn.Module) -> dict[str, list[nn.Module]]:
    return {name: list(getattr(model, name)) for name in LISTS if hasattr(model, name)}


@contextlib.contextmanager
def counted(model: nn.Module) -> Iterator[Counter[str]]:
    """Count how often each block list really ran, by a part inside each block that runs once: its attention."""
    runs: Counter[str] = Counter()
    hooks = []
    for name, listed in blocks(model).items():

        def count(*_: Any, name: str = name) -> None:
            runs[name] += 1

        attentions = [getattr(block, "attn", None) or block.attn1 for block in listed]
        hooks += [attention.register_forward_hook(count) for attention in attentions]
    try:
        yield runs
    finally:
        for name, listed in blocks(model).items():
            assert runs[name] % len(listed) == 0, "some blocks of a list ran, others did not"
            runs[name] //= len(listed)
        for hook in hooks:
            hook.remove()


def footprint(model: nn.Module) -> dict[str, dict[str, Any]]:
    """What every part of a model holds, so that something left behind shows: names, hooks, and which object each is."""
    return {
        name: {key: tuple(value) if isinstance(value, dict) else id(value) for key, value in vars(module).items()}
        for name, module in model.named_modules()
    }
