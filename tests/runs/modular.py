"""Modular pipelines of diffusers with tiny transformers: the blocks that denoise, and what they are given."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxModularPipeline,
    QwenImage21ModularPipeline,
    WanModularPipeline,
)
from diffusers.modular_pipelines.flux.modular_blocks_flux import FluxCoreDenoiseStep
from diffusers.modular_pipelines.qwenimage21.modular_blocks_qwenimage21 import QwenImage21CoreDenoiseStep
from diffusers.modular_pipelines.wan.modular_blocks_wan import WanCoreDenoiseStep
from tests.runs.family import flow_unipc, model, texts, words
from tests.targets.case import noise
from tests.tiny import quiet
from torch import Tensor

STEPS = 6


def modular(kind: Any, blocks: Any, **components: Any) -> Any:
    """Build a pipeline that begins with embeddings of a text, and ends with latents."""
    pipe = kind(blocks)
    pipe.update_components(**components)
    return quiet(pipe)


def flux() -> Any:
    transformer = model("FluxTransformer2DModel", "guidance")
    return modular(
        FluxModularPipeline,
        FluxCoreDenoiseStep(),
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
    )


def sample_flux(pipe: Any, seed: int = 3) -> Tensor:
    given = {"prompt_embeds": words(8), "pooled_prompt_embeds": noise(1, 8, seed=3), "height": 64, "width": 64}
    return sample(pipe, seed, given)


def wan(guider: Any = None) -> Any:
    transformer = model("WanTransformer3DModel", in_channels=16, out_channels=16)
    components = {"transformer": transformer, "scheduler": flow_unipc()}
    return modular(
        WanModularPipeline, WanCoreDenoiseStep(), **components, **({} if guider is None else {"guider": guider})
    )


def sample_wan(pipe: Any, seed: int = 3) -> Tensor:
    return sample(pipe, seed, texts(16) | {"height": 32, "width": 32, "num_frames": 5})


def qwen21(guider: Any = None) -> Any:
    transformer = model("QwenImage21Transformer2DModel")
    components = {"transformer": transformer, "scheduler": FlowMatchEulerDiscreteScheduler()}
    return modular(
        QwenImage21ModularPipeline,
        QwenImage21CoreDenoiseStep(),
        **components,
        **({} if guider is None else {"guider": guider}),
    )


def sample_qwen21(pipe: Any, seed: int = 3) -> Tensor:
    slots = torch.zeros(1, 5, dtype=torch.bool)
    masks = dict.fromkeys(("prompt_embeds_mask", "negative_prompt_embeds_mask"), torch.ones(1, 5, dtype=torch.bool))
    given = texts(12) | masks | {"image_pad_mask": slots, "negative_image_pad_mask": slots, "height": 64, "width": 64}
    return sample(pipe, seed, given)


def sample(pipe: Any, seed: int, given: dict[str, Any]) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    latents: Tensor = pipe(**given, num_inference_steps=STEPS, generator=draw, output="latents")
    return latents
