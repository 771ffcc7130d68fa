"""The pipelines that draw images (and sounds), with tiny components."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from PIL import Image
from tests.runs.family import (
    MASKS,
    Dimensions,
    Family,
    Unsuspicious,
    build,
    flux2_vae,
    masks,
    model,
    picture,
    pooled,
    square,
    texts,
    two_texts,
    upper_half,
    wan_vae,
    words,
)
from tests.targets import cases_image
from tests.targets.case import noise
from tests.tiny import no_text, vae


def flux(kind: str, **changes: Any) -> Callable[[], Any]:
    return lambda: build(kind, model("FluxTransformer2DModel", "guidance", **changes), vae=vae(1), **no_text())


def flux_text(negative: bool = True) -> dict[str, Any]:
    given = texts(8) | pooled(8) | square(16)
    return {name: value for name, value in given.items() if negative or not name.startswith("negative")}


FLUX = (
    Family(
        "FluxInpaintPipeline",
        flux("FluxInpaintPipeline"),
        lambda: flux_text() | {"image": picture(), "mask_image": upper_half(), "strength": 1.0, "true_cfg_scale": 3.0},
    ),
    Family(
        "FluxFillPipeline",
        flux("FluxFillPipeline", in_channels=4 + 4 + 4 * 4, out_channels=4),
        lambda: flux_text(negative=False) | {"image": picture(), "mask_image": upper_half()},
        branches=1,
    ),
    Family(
        "FluxControlPipeline",
        flux("FluxControlPipeline", in_channels=8, out_channels=4),
        lambda: flux_text(negative=False) | {"control_image": picture()},
        branches=1,
    ),
    Family(
        "FluxKontextPipeline",
        flux("FluxKontextPipeline"),
        lambda: flux_text() | {"image": picture(), "true_cfg_scale": 3.0, "_auto_resize": False, "max_area": 256},
    ),
    Family(
        "Flux2Pipeline",
        lambda: build("Flux2Pipeline", model("Flux2Transformer2DModel")),
        lambda: {"prompt_embeds": words(12), **square(64)},
        branches=1,
    ),
    Family(
        "Flux2KleinPipeline",
        lambda: build("Flux2KleinPipeline", model("Flux2Transformer2DModel", "without guidance"), vae=flux2_vae()),
        lambda: texts(12) | square(16),
    ),
)

STABLE_DIFFUSION = (
    Family(
        "StableDiffusion3Pipeline",
        lambda: build("StableDiffusion3Pipeline", model("SD3Transformer2DModel")),
        lambda: texts(12) | pooled(10) | square(64),
        branches=1,
    ),
    Family(
        "StableDiffusion3Img2ImgPipeline",
        lambda: build("StableDiffusion3Img2ImgPipeline", model("SD3Transformer2DModel"), vae=vae(4)),
        lambda: texts(12) | pooled(10) | {"image": picture(), "strength": 1.0, **square(16)},
        branches=1,
    ),
)


def qwen_text() -> dict[str, Any]:
    return texts(12) | masks("prompt_embeds_mask", "negative_prompt_embeds_mask")


QWEN = (
    Family(
        "QwenImagePipeline",
        lambda: build("QwenImagePipeline", model("QwenImageTransformer2DModel")),
        lambda: qwen_text() | square(64),
    ),
    Family(
        "QwenImageImg2ImgPipeline",
        lambda: build(
            "QwenImageImg2ImgPipeline",
            model("QwenImageTransformer2DModel"),
            vae=wan_vae("AutoencoderKLQwenImage"),
        ),
        lambda: qwen_text() | square(16) | {"image": picture(), "strength": 1.0},
    ),
    Family(
        "QwenImageEditPipeline",
        lambda: build(
            "QwenImageEditPipeline",
            model("QwenImageTransformer2DModel", "edit"),
            vae=wan_vae("AutoencoderKLQwenImage"),
        ),
        lambda: qwen_text() | square(16) | {"image": Image.new("RGB", (16, 16), "teal")},
        patches=lambda: patch(  # it enlarges every image to a million pixels
            "diffusers.pipelines.qwenimage.pipeline_qwenimage_edit.calculate_dimensions", lambda *_: (16, 16, None)
        ),
    ),
)


def hidream() -> Any:
    pipe = build("HiDreamImagePipeline", model("HiDreamImageTransformer2DModel"))
    pipe.default_sample_size = 8  # every image gets the area of a square of this size
    return pipe


def stable_audio() -> Any:
    torch.manual_seed(1)
    projection = diffusers.StableAudioProjectionModel(
        text_encoder_dim=12, conditioning_dim=12, min_value=0, max_value=32
    )
    return build(
        "StableAudioPipeline",
        model("StableAudioDiTModel", global_states_input_dim=24),
        scheduler=diffusers.EDMDPMSolverMultistepScheduler(sigma_min=0.3, sigma_max=500, sigma_data=1.0),
        vae=Dimensions(hop_length=8, config=Dimensions(sampling_rate=48, audio_channels=2)),
        projection_model=projection.eval(),
    )


class Prompts:
    """Takes the place of OmniGen's processor, which takes torchvision."""

    max_image_size = 1024

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> dict[str, Any]:
        inputs = next(case for case in cases_image.CASES if case.model == "OmniGenTransformer2DModel").inputs()
        mask, positions = inputs["attention_mask"], inputs["position_ids"]
        return {
            "input_ids": torch.cat([inputs["input_ids"], inputs["input_ids"].flip(1)]),
            "attention_mask": mask.repeat(2, 1, 1),
            "position_ids": positions.repeat(2, 1),
            "input_pixel_values": [],
            "input_image_sizes": {},
        }


def omnigen() -> Any:
    with patch("diffusers.pipelines.omnigen.pipeline_omnigen.OmniGenMultiModalProcessor", Prompts, create=True):
        return build(
            "OmniGenPipeline",
            model("OmniGenTransformer2DModel"),
            scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
            vae=vae(4),
        )


OTHER_IMAGE = (
    Family(
        "LuminaPipeline",
        lambda: build("LuminaPipeline", model("LuminaNextDiT2DModel")),
        lambda: texts(12) | masks(*MASKS) | square(64),
        branches=1,
    ),
    Family(
        "HunyuanImagePipeline",
        lambda: build(
            "HunyuanImagePipeline",
            model("HunyuanImageTransformer2DModel"),
            guider=diffusers.AdaptiveProjectedMixGuidance(guidance_scale=3.0),
        ),
        lambda: two_texts((12, 5), (10, 4)) | square(128),
    ),
    Family(
        "OvisImagePipeline",
        lambda: build("OvisImagePipeline", model("OvisImageTransformer2DModel")),
        lambda: texts(12) | square(64) | {"negative_prompt": None},
    ),
    Family(
        "Krea2Pipeline",
        lambda: build("Krea2Pipeline", model("Krea2Transformer2DModel")),
        lambda: (
            masks("prompt_embeds_mask", "negative_prompt_embeds_mask", dtype=torch.bool)
            | square(64)
            | {"prompt_embeds": noise(1, 5, 3, 16, seed=1), "negative_prompt_embeds": noise(1, 5, 3, 16, seed=2)}
        ),
    ),
    Family(
        "ErnieImagePipeline",
        lambda: build("ErnieImagePipeline", model("ErnieImageTransformer2DModel")),
        lambda: {
            "prompt_embeds": [noise(5, 12, seed=1)],
            "negative_prompt_embeds": [noise(4, 12, seed=2)],
            "use_pe": False,
            **square(64),
        },
        branches=1,
    ),
    Family(
        "CogView3PlusPipeline",
        lambda: build(
            "CogView3PlusPipeline",
            model("CogView3PlusTransformer2DModel"),
            scheduler=diffusers.CogVideoXDDIMScheduler(),
        ),
        lambda: texts(12) | square(64),
        branches=1,
    ),
    Family(
        "CogView4Pipeline",
        lambda: build("CogView4Pipeline", model("CogView4Transformer2DModel")),
        lambda: texts(12) | square(64),
    ),
    Family(
        "PixArtSigmaPipeline",
        lambda: build(
            "PixArtSigmaPipeline",
            model("PixArtTransformer2DModel"),
            scheduler=diffusers.DPMSolverMultistepScheduler(),
        ),
        lambda: texts(12) | masks(*MASKS) | square(64) | {"negative_prompt": None, "use_resolution_binning": False},
        branches=1,
    ),
    Family(
        "SanaPipeline",
        lambda: build("SanaPipeline", model("SanaTransformer2DModel")),
        lambda: texts(12) | masks(*MASKS) | square(128) | {"negative_prompt": None, "use_resolution_binning": False},
        branches=1,
    ),
    Family(
        "Lumina2Pipeline",
        lambda: build("Lumina2Pipeline", model("Lumina2Transformer2DModel")),
        lambda: texts(12) | masks(*MASKS) | square(64),
    ),
    Family(
        "ChromaPipeline",
        lambda: build("ChromaPipeline", model("ChromaTransformer2DModel")),
        lambda: texts(12) | masks(*MASKS, dtype=torch.float32) | square(64),
    ),
    Family(
        "ZImagePipeline",
        lambda: build("ZImagePipeline", model("ZImageTransformer2DModel")),
        lambda: {
            "prompt_embeds": [noise(5, 12, seed=1)],
            "negative_prompt_embeds": [noise(4, 12, seed=2)],
            **square(64),
        },
        branches=1,
    ),
    Family(
        "HiDreamImagePipeline",
        hidream,
        lambda: (
            pooled(14)
            | {
                "prompt_embeds_t5": words(12),
                "negative_prompt_embeds_t5": words(12, seed=2),
                "prompt_embeds_llama3": noise(5, 1, 4, 10, seed=5),
                "negative_prompt_embeds_llama3": noise(5, 1, 4, 10, seed=6),
                **square(64),
            }
        ),
        branches=1,
    ),
    Family(
        "AuraFlowPipeline",
        lambda: build("AuraFlowPipeline", model("AuraFlowTransformer2DModel")),
        lambda: texts(12) | masks(*MASKS) | square(64),
        branches=1,
    ),
    Family(
        "Cosmos2TextToImagePipeline",
        lambda: build(
            "Cosmos2TextToImagePipeline",
            model("CosmosTransformer3DModel"),
            scheduler=FlowMatchEulerDiscreteScheduler(use_karras_sigmas=True),
            safety_checker=Unsuspicious(),
        ),
        lambda: texts(16) | square(64),
    ),
    Family(
        "OmniGenPipeline",
        omnigen,
        lambda: {"prompt": "a"} | square(16),
        branches=1,
    ),
    Family("StableAudioPipeline", stable_audio, lambda: texts(12), branches=1),
)
