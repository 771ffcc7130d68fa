"""Modular pipelines of diffusers with tiny transformers: the blocks that denoise, and what they are given."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxModularPipeline,
    MiniMaxH3ModularPipeline,
    MiniMaxH3Scheduler,
    QwenImage21ModularPipeline,
    WanModularPipeline,
)
from diffusers.modular_pipelines.flux.modular_blocks_flux import FluxCoreDenoiseStep
from diffusers.modular_pipelines.minimax_h3.before_denoise import MiniMaxH3SetTimestepsStep
from diffusers.modular_pipelines.minimax_h3.denoise import MiniMaxH3DenoiseStep, MiniMaxH3Ref2VADenoiseStep
from diffusers.modular_pipelines.modular_pipeline import SequentialPipelineBlocks
from diffusers.modular_pipelines.qwenimage21.modular_blocks_qwenimage21 import QwenImage21CoreDenoiseStep
from diffusers.modular_pipelines.wan.modular_blocks_wan import WanCoreDenoiseStep
from tests.runs.family import flow_unipc, model, texts, words
from tests.targets import cases_newer
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


class TalkingReferenceSteps(SequentialPipelineBlocks):
    """The same with the model that is given references."""

    model_name = "minimax-h3"
    block_classes: ClassVar = [MiniMaxH3SetTimestepsStep, MiniMaxH3Ref2VADenoiseStep]
    block_names: ClassVar = ["timesteps", "denoise"]


class TalkingSteps(SequentialPipelineBlocks):
    """Set both schedules of a video with sounds, and denoise."""

    model_name = "minimax-h3"
    block_classes: ClassVar = [MiniMaxH3SetTimestepsStep, MiniMaxH3DenoiseStep]
    block_names: ClassVar = ["timesteps", "denoise"]


def minimax_h3(blocks: Any = TalkingSteps, name: str = "transformer") -> Any:
    """Build a pipeline whose sounds have a schedule of their own, which shares noise levels with that of the video."""
    return modular(
        MiniMaxH3ModularPipeline,
        blocks(),
        **{name: model("MiniMaxH3Transformer3DModel")},
        scheduler=MiniMaxH3Scheduler(shift=2.0),
        audio_scheduler=MiniMaxH3Scheduler(shift=1.0),
    )


def minimax_h3_references() -> Any:
    return minimax_h3(TalkingReferenceSteps, "transformer_ref")


def sample_minimax_h3(pipe: Any, seed: int = 3) -> Tensor:
    """Draw a video and its sounds, in one row."""
    given = cases_newer.minimax_h3()
    names = ("video_indices", "audio_indices", "text_indices")
    rows = {name: given[name] for name in names}
    layout = rows | {name: given[name] for name in ("token_tags", "position_ids")}
    latents = {
        "latents": noise(cases_newer.VIDEO_ROWS, 8, seed=seed),
        "audio_latents": noise(cases_newer.AUDIO_ROWS, 6, seed=seed + 1),
        "prompt_embeds": given["encoder_hidden_states"],
    }
    state = pipe(**rows, **latents, denoiser_input_fields=layout, num_inference_steps=STEPS + 1)
    return torch.cat([state.values[name].flatten() for name in ("latents", "audio_latents")])
