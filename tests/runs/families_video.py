"""The pipelines that draw videos, with tiny components."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from tests.runs.family import (
    MASKS,
    Dimensions,
    Family,
    Unsuspicious,
    build,
    flow_unipc,
    halving,
    ltx_vae,
    masks,
    model,
    picture,
    pooled,
    square,
    texts,
    two_texts,
    words,
)
from tests.targets.case import noise
from torch import Tensor


def wan_text(width: int = 16, length: int = 5) -> dict[str, Any]:
    return texts(width, length) | square(16) | {"num_frames": 5}


WAN = (
    Family(
        "WanVACEPipeline",
        lambda: build(
            "WanVACEPipeline",
            model("WanVACETransformer3DModel", vace_in_channels=4 + 4 + 4),
            scheduler=flow_unipc(),
            vae=halving(),
        ),
        lambda: wan_text() | {"conditioning_scale": [1.0, 0.5]},
    ),
    Family(
        "WanImageToVideoPipeline",
        lambda: build(
            "WanImageToVideoPipeline",
            model("WanTransformer3DModel", "image", in_channels=4 + 2 + 4),
            scheduler=flow_unipc(),
            vae=halving(),
        ),
        lambda: wan_text(length=512) | {"image": picture()},
        patches=lambda: patch.object(
            diffusers.WanImageToVideoPipeline, "encode_image", lambda *_: words(16, 4, seed=5)
        ),
    ),
    Family(
        "WanImageToVideoPipeline timestep per token",
        lambda: build(
            "WanImageToVideoPipeline",
            model("WanTransformer3DModel"),
            scheduler=flow_unipc(),
            vae=halving(),
            expand_timesteps=True,
        ),
        lambda: wan_text() | {"image": picture()},
    ),
    Family(
        "WanPipeline timestep per token",
        lambda: build(
            "WanPipeline",
            model("WanTransformer3DModel"),
            scheduler=flow_unipc(),
            expand_timesteps=True,
        ),
        lambda: wan_text() | square(32),
    ),
    Family(
        "WanVideoToVideoPipeline",
        lambda: build(
            "WanVideoToVideoPipeline",
            model("WanTransformer3DModel"),
            scheduler=flow_unipc(),
            vae=halving(),
        ),
        lambda: texts(16) | square(16) | {"video": picture().expand(5, -1, -1, -1)[None], "strength": 1.0},
    ),
    Family(
        "SkyReelsV2Pipeline",
        lambda: build("SkyReelsV2Pipeline", model("SkyReelsV2Transformer3DModel"), scheduler=flow_unipc()),
        lambda: wan_text() | square(32),
    ),
    Family(
        "SkyReelsV2DiffusionForcingPipeline",
        lambda: build(
            "SkyReelsV2DiffusionForcingPipeline",
            model("SkyReelsV2Transformer3DModel", "diffusion forcing"),
            scheduler=flow_unipc(),
            vae=halving(),
        ),
        lambda: wan_text() | {"prompt": None},
    ),
)


def hunyuan15() -> Any:
    pipe = build(
        "HunyuanVideo15Pipeline",
        model("HunyuanVideo15Transformer3DModel"),
        vae=Dimensions(spatial_compression_ratio=8, temporal_compression_ratio=4, config=Dimensions(latent_channels=4)),
        guider=diffusers.ClassifierFreeGuidance(guidance_scale=3.0),
    )
    pipe.vision_num_semantic_tokens, pipe.vision_states_dim = 2, 8
    return pipe


class Connectors:
    """Takes the place of the projections of LTX-2's texts."""

    def __call__(self, texts: Tensor, mask: Tensor, **_: Any) -> tuple[Tensor, Tensor, Tensor]:
        return texts, 0.5 * texts.flip(-1), mask


def ltx2() -> Any:
    video = {"spatial_compression_ratio": 32, "temporal_compression_ratio": 8, "config": Dimensions(scaling_factor=1.0)}
    sizes = {"mel_bins": 12, "latent_channels": 2, "sample_rate": 1600, "mel_hop_length": 16}
    audio = {"mel_compression_ratio": 4, "temporal_compression_ratio": 4, "config": Dimensions(**sizes)}
    return build(
        "LTX2Pipeline",
        model("LTX2VideoTransformer3DModel", perturbed_attn=True, num_layers=2),
        vae=Dimensions(**video, latents_mean=torch.zeros(4), latents_std=torch.ones(4)),
        audio_vae=Dimensions(**audio, latents_mean=torch.zeros(6), latents_std=torch.ones(6)),
        connectors=Connectors(),
    )


OTHER_VIDEO = (
    Family("HunyuanVideo15Pipeline", hunyuan15, lambda: two_texts((16, 5), (8, 3)) | square(32) | {"num_frames": 5}),
    Family(
        "LTX2Pipeline",
        ltx2,
        lambda: texts(16) | masks(*MASKS) | square(64) | {"num_frames": 9, "spatio_temporal_guidance_blocks": [1]},
        branches=3,
    ),
    Family(
        "Kandinsky5T2VPipeline",
        lambda: build("Kandinsky5T2VPipeline", model("Kandinsky5Transformer3DModel")),
        lambda: (
            {
                "prompt_embeds_qwen": words(16),
                "prompt_embeds_clip": noise(1, 8, seed=2),
                "prompt_cu_seqlens": torch.tensor([0, 5]),
                "negative_prompt_embeds_qwen": words(16, 4, seed=3),
                "negative_prompt_embeds_clip": noise(1, 8, seed=4),
                "negative_prompt_cu_seqlens": torch.tensor([0, 4]),
                "num_frames": 5,
            }
            | square(32)
        ),
    ),
    Family(
        "AllegroPipeline",
        lambda: build(
            "AllegroPipeline",
            model("AllegroTransformer3DModel"),
            scheduler=diffusers.EulerAncestralDiscreteScheduler(),
        ),
        lambda: texts(16) | masks(*MASKS) | {"negative_prompt": None, "height": 32, "width": 48, "num_frames": 9},
        branches=1,
    ),
    Family(
        "LattePipeline",
        lambda: build("LattePipeline", model("LatteTransformer3DModel"), scheduler=diffusers.DDIMScheduler()),
        lambda: texts(16) | square(32) | {"negative_prompt": None, "video_length": 3},
        branches=1,
    ),
    Family(
        "HunyuanVideoPipeline",
        lambda: build("HunyuanVideoPipeline", model("HunyuanVideoTransformer3DModel", guidance_embeds=True)),
        lambda: texts(16) | pooled(8) | masks(*MASKS) | square(32) | {"num_frames": 5, "true_cfg_scale": 3.0},
    ),
    Family(
        "LTXPipeline",
        lambda: build("LTXPipeline", model("LTXVideoTransformer3DModel")),
        lambda: texts(16) | masks(*MASKS) | square(64) | {"num_frames": 9},
        branches=1,
    ),
    Family(
        "LTXImageToVideoPipeline",  # whose first frame has a timestep of its own
        lambda: build("LTXImageToVideoPipeline", model("LTXVideoTransformer3DModel"), vae=ltx_vae()),
        lambda: texts(16) | masks(*MASKS) | square(32) | {"num_frames": 9, "image": picture(32)},
        branches=1,
    ),
    Family(
        "SanaVideoPipeline",
        lambda: build("SanaVideoPipeline", model("SanaVideoTransformer3DModel"), vae=halving()),
        lambda: (
            texts(16)
            | masks(*MASKS)
            | square(32)
            | {"negative_prompt": None, "use_resolution_binning": False, "frames": 5}
        ),
        branches=1,
    ),
    Family(
        "EasyAnimatePipeline",
        lambda: build(
            "EasyAnimatePipeline",
            model("EasyAnimateTransformer3DModel"),
            vae=Dimensions(
                spatial_compression_ratio=8, temporal_compression_ratio=4, config=Dimensions(latent_channels=4)
            ),
        ),
        lambda: texts(16) | masks(*MASKS) | square(32) | {"num_frames": 9, "negative_prompt": None},
        branches=1,
    ),
    Family(
        "CosmosTextToWorldPipeline",
        lambda: build(
            "CosmosTextToWorldPipeline",
            model("CosmosTransformer3DModel"),
            scheduler=diffusers.EDMEulerScheduler(sigma_max=80.0, sigma_data=0.5, final_sigmas_type="sigma_min"),
            safety_checker=Unsuspicious(),
        ),
        lambda: texts(16) | square(64) | {"num_frames": 9},
    ),
    Family(
        "CogVideoXPipeline",
        lambda: build(
            "CogVideoXPipeline",
            model("CogVideoXTransformer3DModel"),
            scheduler=diffusers.CogVideoXDDIMScheduler(),
        ),
        lambda: texts(16) | {"height": 32, "width": 48, "num_frames": 9},
        branches=1,
    ),
    Family(
        "MochiPipeline",
        lambda: build(
            "MochiPipeline",
            model("MochiTransformer3DModel"),
            scheduler=FlowMatchEulerDiscreteScheduler(invert_sigmas=True),
        ),
        lambda: texts(16) | masks(*MASKS, dtype=torch.bool) | square(32) | {"num_frames": 7},
        branches=1,
    ),
)
