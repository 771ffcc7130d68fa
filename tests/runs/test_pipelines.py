"""The real pipelines of many model families: each tells the model its timestep and its guidance in its own way."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import diffusers
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from PIL import Image
from tests.targets import cases_first, cases_image, cases_more, cases_video
from tests.targets.case import noise
from tests.tiny import no_text, quiet, vae
from torch import Tensor, nn

from padecast import accelerate, targets
from padecast._stack import stack_of
from padecast.forecasters import Lagrange, Oracle
from padecast.policies import Always, Plan

PLAN = "CC.C.C"
STEPS, NFE = len(PLAN), PLAN.count("C")

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),  # Mochi asks for an autocast that a CPU has not
    # diffusers hands torch tensors to numpy in a dozen schedulers; nothing of ours is involved.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore:`FluxPosEmbed` is deprecated"),  # by the release that Chroma is in
]


@dataclass(frozen=True)
class Family:
    """A pipeline with a tiny transformer, and how to sample with it.

    Args:
        name: Of the pipeline's class, and what tells two of one class apart.
        make: Builds the pipeline.
        options: ``options()`` gives what its call is told, besides the number of steps and the generator.
        branches: How often it calls its transformer in a step.
        patches: What is replaced while it samples.
    """

    name: str
    make: Callable[[], Any]
    options: Callable[[], dict[str, Any]]
    branches: int = 2
    patches: Callable[[], Any] = contextlib.nullcontext

    def __str__(self) -> str:
        return self.name

    def sample(self, pipe: Any, seed: int = 3, **options: Any) -> Tensor:
        """Sample, and return all that the pipeline returns in one row of numbers."""
        fixed = {"num_inference_steps": STEPS, "output_type": "latent", "return_dict": False}
        options = {**fixed, "generator": torch.Generator().manual_seed(seed), **self.options(), **options}
        torch.manual_seed(seed)
        with self.patches():
            leaves = torch.utils._pytree.tree_leaves(pipe(**options))
        return torch.cat([leaf.detach().flatten() for leaf in leaves if isinstance(leaf, Tensor)])


# Components -----------------------------------------------------------------------------------------------------------


def model(name: str, variant: str = "", **changes: Any) -> nn.Module:
    """Build the transformer of a case, with some of its configuration changed."""
    cases = [case for listed in (cases_first, cases_image, cases_more, cases_video) for case in listed.CASES]
    case = next(case for case in cases if (case.model, case.variant) == (name, variant))
    return dataclasses.replace(case, config={**case.config, **changes}).make()


def build(kind: str, transformer: nn.Module, **parts: Any) -> Any:
    """Build a pipeline; it gets nothing for what it is not given."""
    made = getattr(diffusers, kind)
    wanted = inspect.signature(made.__init__).parameters
    parts = {"scheduler": FlowMatchEulerDiscreteScheduler(), "transformer": transformer, **parts}
    absent = [name for name, known in wanted.items() if known.default is known.empty and name != "self"]
    return quiet(made(**{**dict.fromkeys(absent), **parts}))


def words(width: int, length: int = 5, seed: int = 1) -> Tensor:
    return noise(1, length, width, seed=seed)


def texts(width: int, length: int = 5) -> dict[str, Tensor]:
    """Draw the embeddings of a prompt and of a negative one."""
    return {"prompt_embeds": words(width, length), "negative_prompt_embeds": words(width, length, seed=2)}


def two_texts(*shapes: tuple[int, int]) -> dict[str, Tensor]:
    """Draw what two encoders make of a prompt and of a negative one: widths and lengths."""
    drawn = [
        texts(*shape) | masks("prompt_embeds_mask", "negative_prompt_embeds_mask", length=shape[1]) for shape in shapes
    ]
    return drawn[0] | {f"{name}_2": value for name, value in drawn[1].items()}


def pooled(width: int) -> dict[str, Tensor]:
    return {"pooled_prompt_embeds": noise(1, width, seed=3), "negative_pooled_prompt_embeds": noise(1, width, seed=4)}


def masks(*names: str, length: int = 5, dtype: torch.dtype = torch.long) -> dict[str, Tensor]:
    """Mask the last tokens: one of the prompt, two of the negative one."""
    positions = torch.arange(length)
    return {name: (positions < length - 1 - place).to(dtype)[None] for place, name in enumerate(names)}


MASKS = ("prompt_attention_mask", "negative_prompt_attention_mask")


def flux2_vae() -> Any:
    torch.manual_seed(1)
    blocks = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    widths = {"block_out_channels": (4, 8), "layers_per_block": 1, "latent_channels": 2, "norm_num_groups": 2}
    return diffusers.AutoencoderKLFlux2(**blocks, **widths).eval()


def wan_vae(kind: str = "AutoencoderKLWan", **changes: Any) -> Any:
    """Build a video autoencoder that halves the frames, but for the first, and both sides."""
    torch.manual_seed(1)
    shape = {"base_dim": 8, "z_dim": 4, "dim_mult": [1, 1], "num_res_blocks": 1, "temperal_downsample": [True]}
    return getattr(diffusers, kind)(**shape, latents_mean=[0.1] * 4, latents_std=[0.9] * 4, **changes).eval()


def halving() -> Any:
    return wan_vae(scale_factor_temporal=2, scale_factor_spatial=2)


def ltx_vae() -> Any:
    torch.manual_seed(1)
    four, five, halved = (8,) * 4, (1,) * 5, (True, True, False, False)
    return diffusers.AutoencoderKLLTXVideo(
        latent_channels=4,
        block_out_channels=four,
        decoder_block_out_channels=four,
        layers_per_block=five,
        decoder_layers_per_block=five,
        spatio_temporal_scaling=halved,
        decoder_spatio_temporal_scaling=halved,
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        patch_size=1,
    ).eval()


class Dimensions(SimpleNamespace):
    """Takes the place of an autoencoder that is asked how much it compresses, and never called."""


class Unsuspicious:
    """Takes the place of the checker that is asked before and after a Cosmos."""

    def to(self, *_: Any) -> Any:
        return self


def flow_unipc() -> Any:
    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0)


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def picture(side: int = 16, seed: int = 6) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def upper_half(side: int = 16) -> Tensor:
    return (torch.arange(side)[:, None] < side // 2).float().expand(1, 1, side, side)


# Families -------------------------------------------------------------------------------------------------------------


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

FAMILIES: tuple[Family, ...] = (*FLUX, *STABLE_DIFFUSION, *QWEN, *WAN, *OTHER_VIDEO, *OTHER_IMAGE)
every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


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

    with accelerate(pipe, "tc-pade") as run:
        family.sample(pipe)
    assert run.report.forecast >= 1

    assert torch.equal(family.sample(pipe), untouched), "not as before"


def close(image: Tensor, untouched: Tensor) -> None:
    """Assert equality but for rounding, of which there is as much as the numbers are large."""
    torch.testing.assert_close(image, untouched, rtol=1e-4, atol=1e-4 * max(1.0, float(untouched.abs().max())))


# What some pipelines do in the middle of a run ------------------------------------------------------------------------


def named(name: str) -> Family:
    return next(family for family in FAMILIES if family.name == name)


def check(family: Family, pipe: Any, plan: str, made: str, runs: list[int], **options: Any) -> Any:
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
    report = check(named(name), pipe, PLAN, plan, [calls] * blocks, strength=0.7)
    assert report.notes == {}


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
        assert (run.report.plan, run.report.unplaced, run.report.notes) == (made, 0, {})
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
    assert check(family, family.make(), PLAN, PLAN, runs, **options).branches == branches


def test_guidance_that_ends_early() -> None:
    """Lumina 2 makes the second call of a step only in the first steps."""
    family = named("Lumina2Pipeline")
    report = check(family, family.make(), PLAN, PLAN, [6] * 3, cfg_trunc_ratio=0.5)
    assert report.notes == {}


def test_guidance_in_the_middle() -> None:
    """HunyuanVideo 1.5 leaves it to its guider at which steps there is a second call."""
    family = named("HunyuanVideo15Pipeline")
    pipe = family.make()
    pipe.guider = diffusers.ClassifierFreeGuidance(guidance_scale=3.0, start=0.3, stop=0.7)
    report = check(family, pipe, PLAN, PLAN, [6] * 3)
    assert (report.branches, report.notes) == (("pred_cond", "pred_uncond"), {})


def test_a_batch_that_shrinks() -> None:
    """Z-Image leaves out the half of the batch that guides it in the last steps."""
    family = named("ZImagePipeline")
    report = check(family, family.make(), "CC.CC.", "CC.CC.", [4] * 3, cfg_truncation=0.5)
    assert report.notes == {}
    with accelerate(pipe := family.make(), policy=Plan(PLAN), forecaster=Lagrange()) as run:
        family.sample(pipe, cfg_truncation=0.5)
    assert run.report.plan == "CC.CCC"
    assert run.report.notes == {"step 4, call 1": "computed because the features changed shape, dtype or device"}


def test_a_long_video_in_pieces() -> None:
    """SkyReels V2 goes through the schedule once for every piece of a video, all in one call."""
    family = named("SkyReelsV2DiffusionForcingPipeline")
    pieces = {"num_frames": 9, "base_num_frames": 5, "overlap_history": 1, "addnoise_condition": 0}
    report = check(family, family.make(), PLAN, PLAN, [2 * 2 * NFE] * 3, **pieces)
    assert report.notes == {}


def test_frames_that_are_not_at_the_same_step() -> None:
    """SkyReels V2 can let its first frames run ahead: the step is that of the last ones, which wait for the first."""
    family = named("SkyReelsV2DiffusionForcingPipeline")
    report = check(family, family.make(), PLAN, PLAN, [2 * (10 - 2)] * 3, ar_step=2, causal_block_size=1)
    assert report.notes == dict.fromkeys(
        ("step 0, cond", "step 0, uncond"), "computed because the same step came twice on one branch"
    )


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
