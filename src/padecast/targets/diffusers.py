"""The transformer and U-Net classes of diffusers: an entry each, which says all of a class."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from padecast.targets.base import HIDDEN, IMAGE_TEXT, TEXT_IMAGE, BlockOutput, Target

TEXT_THEN_IMAGE = replace(HIDDEN, joins=TEXT_IMAGE.names)
IMAGE_THEN_TEXT = replace(HIDDEN, joins=IMAGE_TEXT.names)
"""Lists over one stream, into which the model has concatenated the streams of the list before."""
X = BlockOutput(("x",), bare=True)
FLUX = {"double": ("transformer_blocks",), "single": ("single_transformer_blocks",)}
DEEP = dict.fromkeys(("down_blocks[1:]", "mid_block", "up_blocks[:-1]"), HIDDEN)
"""All of a U-Net but its outermost blocks, which keep what the input looks like: the boundary of DeepCache."""
ALL = {"": HIDDEN}
"""The model itself, where the layout of its blocks fits in no data."""
RANDOM = "tiny random weights"
NORM, TIME = "transformer_blocks.0.norm1", "condition_embedder.time_proj"
"""What TeaCache's rule looks at: the first block's modulated input, or the embedding that modulates it."""
EXTRACT = {"kv_cache_mode": ("extract",)}
"""By which a call fills a cache of the keys and values of what does not change: a text, references."""
IN_IMAGE = {"attention_mask": ("hidden_states",)}
IN_TEXT = {"attention_mask": ("encoder_hidden_states",)}
IN_BOTH = {"attention_mask": IMAGE_TEXT.names}
"""Which streams have rows that only fill up a batch, as this argument of the blocks says."""


def _joint(model: str, *pipelines: str, then: BlockOutput = TEXT_THEN_IMAGE, **more: Any) -> Target:
    lists = {"transformer_blocks": TEXT_IMAGE, "single_transformer_blocks": then}
    return Target(model, lists, spans=FLUX, pipelines=pipelines, **more)


_like_flux = partial(_joint, then=TEXT_IMAGE)


def _one_list(
    model: str, *pipelines: str, name: str = "transformer_blocks", returns: BlockOutput = HIDDEN, **more: Any
) -> Target:
    main = returns.names[0] if returns.bare else "hidden_states"
    return Target(model, {name: returns}, main=main, pipelines=pipelines, **more)


IMAGE = (
    _one_list(
        "DiTTransformer2DModel",
        *("DiT", "padecast.zoo digits"),
        tested=f"trained digits; DiTPipeline, {RANDOM}",
        modulated=NORM,
    ),
    _like_flux(
        "FluxTransformer2DModel",
        *("Flux", "FluxImg2Img", "FluxInpaint", "FluxFill", "FluxControl", "FluxControlImg2Img", "FluxControlInpaint"),
        *("FluxControlNet", "FluxControlNetImg2Img", "FluxControlNetInpaint", "FluxKontext", "FluxKontextInpaint"),
        tested=f"Flux pipelines, {RANDOM}",
        modulated=NORM,
    ),
    _joint("Flux2Transformer2DModel", "Flux2", "Flux2Klein", "Flux2KleinInpaint", "Flux2KleinKV", fills=EXTRACT),
    _one_list("Flux3Transformer2DModel", "Flux3Modular", name="single_transformer_blocks", returns=TEXT_IMAGE),
    _joint(
        "ChromaTransformer2DModel",
        *("Chroma", "ChromaImg2Img", "ChromaInpaint"),
        masks={"attention_mask": TEXT_IMAGE.names},
    ),
    _like_flux("OvisImageTransformer2DModel", "OvisImage", modulated=NORM),
    _like_flux("LongCatImageTransformer2DModel", "LongCatImage", "LongCatImageEdit", modulated=NORM),
    _like_flux("BriaTransformer2DModel", "Bria", modulated=NORM),
    _joint(
        "BriaFiboTransformer2DModel",
        *("BriaFibo", "BriaFiboEdit"),
        masks={"joint_attention_kwargs.attention_mask": TEXT_IMAGE.names},
    ),
    _one_list("BriaFibo2Transformer2DModel", "BriaFibo2", name="layers", returns=X, masks={"attn_mask": ("x",)}),
    _one_list(
        "SD3Transformer2DModel",
        *("StableDiffusion3", "StableDiffusion3Img2Img", "StableDiffusion3Inpaint", "StableDiffusion3ControlNet"),
        *("StableDiffusion3ControlNetInpainting", "StableDiffusion3PAG", "StableDiffusion3PAGImg2Img"),
        returns=TEXT_IMAGE,
        modulated=NORM,
    ),
    _one_list(
        "QwenImageTransformer2DModel",
        *("QwenImage", "QwenImageImg2Img", "QwenImageInpaint", "QwenImageEdit", "QwenImageEditPlus"),
        *("QwenImageEditInpaint", "QwenImageControlNet", "QwenImageControlNetInpaint", "QwenImageLayered"),
        returns=TEXT_IMAGE,
        masks={"encoder_hidden_states_mask": ("encoder_hidden_states",)},
    ),
    _one_list(
        "QwenImage21Transformer2DModel",
        "QwenImage21",
        masks={"key_valid": ("hidden_states",)},
        fills=EXTRACT,
    ),
    Target(
        "HunyuanImageTransformer2DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        spans=FLUX,
        pipelines=("HunyuanImage", "HunyuanImageRefiner"),
        masks=IN_BOTH,
    ),
    Target(
        "HiDreamImageTransformer2DModel",
        {"double_stream_blocks": IMAGE_TEXT, "single_stream_blocks": IMAGE_THEN_TEXT},
        timestep="timesteps",
        pipelines=("HiDreamImage",),
    ),
    Target(
        "AuraFlowTransformer2DModel",
        {"joint_transformer_blocks": TEXT_IMAGE, "single_transformer_blocks": TEXT_THEN_IMAGE},
        pipelines=("AuraFlow",),
    ),
    _one_list("PixArtTransformer2DModel", "PixArtAlpha", "PixArtSigma", "PixArtSigmaPAG"),
    _one_list("SanaTransformer2DModel", "Sana", "SanaSprint", "SanaSprintImg2Img", "SanaControlNet", "SanaPAG"),
    _one_list("CogView3PlusTransformer2DModel", "CogView3Plus", returns=IMAGE_TEXT),
    _one_list("CogView4Transformer2DModel", "CogView4", "CogView4Control", returns=IMAGE_TEXT),
    _one_list("GlmImageTransformer2DModel", "GlmImage", returns=IMAGE_TEXT, aside={"kv_caches.0.mode": ("write",)}),
    _one_list("Lumina2Transformer2DModel", "Lumina2", name="layers", masks=IN_IMAGE),
    _one_list("LuminaNextDiT2DModel", "Lumina", name="layers"),
    Target(
        "ZImageTransformer2DModel",
        {"layers": X},
        main="x",
        timestep="t",
        pipelines=(
            *("ZImage", "ZImageImg2Img", "ZImageInpaint", "ZImageControlNet", "ZImageControlNetInpaint"),
            "ZImageOmni",
        ),
        masks={"attn_mask": ("x",)},
    ),
    Target("OmniGenTransformer2DModel", {"layers": HIDDEN}, pipelines=("OmniGen",), masks=IN_IMAGE),
    _one_list("HunyuanDiT2DModel", "HunyuanDiT", "HunyuanDiTControlNet", "HunyuanDiTPAG", name="blocks"),
    _one_list("PRXTransformer2DModel", "PRX", "PRXPixel", name="blocks"),
    _one_list("Krea2Transformer2DModel", "Krea2", masks=IN_IMAGE),
    Target(
        "ErnieImageTransformer2DModel",
        {"layers": X},
        main="x",
        samples=1,
        pipelines=("ErnieImage",),
        masks={"attention_mask": ("x",)},
    ),
    _one_list("Ideogram4Transformer2DModel", "Ideogram4", name="layers", masks=IN_IMAGE),
    _one_list("NucleusMoEImageTransformer2DModel", "NucleusMoEImage"),
    _one_list("JoyImageEditTransformer3DModel", "JoyImageEdit", name="double_blocks", returns=IMAGE_TEXT),
    _one_list(
        "JoyImageEditPlusTransformer3DModel",
        "JoyImageEditPlus",
        name="double_blocks",
        returns=IMAGE_TEXT,
        masks={"attention_mask": IMAGE_TEXT.names},
    ),
)

VIDEO = (
    _one_list(
        "WanTransformer3DModel",
        *("Wan", "WanImageToVideo", "WanVideoToVideo", "LucyEdit"),
        name="blocks",
        tested=f"Wan pipelines, {RANDOM}",
        modulated=TIME,
    ),
    _one_list("WanVACETransformer3DModel", "WanVACE", name="blocks", modulated=TIME),
    _one_list("WanAnimateTransformer3DModel", "WanAnimate", name="blocks"),
    _one_list("WanAnimate2Transformer3DModel", "WanAnimate2Modular", name="blocks", aside=EXTRACT),
    _one_list("ChronoEditTransformer3DModel", "ChronoEdit", name="blocks"),
    _one_list("SkyReelsV2Transformer3DModel", "SkyReelsV2", "SkyReelsV2ImageToVideo", name="blocks", modulated=TIME),
    _one_list("AnyFlowTransformer3DModel", "AnyFlow", name="blocks"),
    _one_list(
        "AnyFlowFARTransformer3DModel", "AnyFlowFAR", name="blocks", aside={"kv_cache_flag.is_cache_step": (True,)}
    ),
    _one_list("HeliosTransformer3DModel", "Helios", name="blocks"),
    Target(
        "HunyuanVideoTransformer3DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        spans=FLUX,
        pipelines=("HunyuanVideo", "HunyuanVideoImageToVideo", "HunyuanSkyreelsImageToVideo"),
        modulated=NORM,
        masks=IN_BOTH,
    ),
    Target(
        "HunyuanVideoFramepackTransformer3DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        spans=FLUX,
        pipelines=("HunyuanVideoFramepack",),
        masks=IN_BOTH,
    ),
    Target(
        "MotifVideoTransformer3DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        pipelines=("MotifVideo", "MotifVideoImage2Video"),
        masks=IN_BOTH,
    ),
    _one_list(
        "HunyuanVideo15Transformer3DModel",
        *("HunyuanVideo15", "HunyuanVideo15ImageToVideo"),
        returns=IMAGE_TEXT,
        masks=IN_TEXT,
    ),
    _one_list("LTXVideoTransformer3DModel", "LTX", "LTXImageToVideo", "LTXCondition"),
    Target(
        "LTX2VideoTransformer3DModel",
        {"transformer_blocks": BlockOutput(("hidden_states", "audio_hidden_states"))},
        main=("hidden_states", "audio_hidden_states"),
        pipelines=("LTX2", "LTX2ImageToVideo", "LTX2Condition"),
    ),
    _one_list(
        "CogVideoXTransformer3DModel",
        *("CogVideoX", "CogVideoXImageToVideo", "CogVideoXVideoToVideo", "CogVideoXFunControl"),
        returns=IMAGE_TEXT,
        modulated=NORM,
    ),
    _one_list("ConsisIDTransformer3DModel", "ConsisID", returns=IMAGE_TEXT),
    _one_list("EasyAnimateTransformer3DModel", "EasyAnimate", "EasyAnimateInpaint", returns=IMAGE_TEXT),
    _one_list(
        "MochiTransformer3DModel",
        "Mochi",
        returns=IMAGE_TEXT,
        modulated=NORM,
        masks={"encoder_attention_mask": ("encoder_hidden_states",)},
    ),
    _one_list(
        "Kandinsky5Transformer3DModel",
        *("Kandinsky5T2V", "Kandinsky5I2V", "Kandinsky5T2I", "Kandinsky5I2I"),
        name="visual_transformer_blocks",
        returns=BlockOutput(("visual_embed",), bare=True),
    ),
    Target(
        "Kandinsky6Transformer3DModel",
        {"visual_transformer_blocks": BlockOutput(("vis", "aud"))},
        main=("vis", "aud"),
        pipelines=("Kandinsky6TI2VA",),
    ),
    _one_list("Kandinsky6SRTransformer3DModel", "Kandinsky6SR", name="visual_transformer_blocks"),
    _one_list("CosmosTransformer3DModel", "CosmosTextToWorld", "Cosmos2TextToImage", "Cosmos2VideoToWorld"),
    Target(
        "Cosmos3OmniTransformer",
        {"layers": BlockOutput(("und_seq", "gen_seq"))},
        main=("und_seq", "gen_seq"),
        timestep="vision_timesteps",
        samples=None,
        pipelines=("Cosmos3Omni",),
    ),
    _one_list("AllegroTransformer3DModel", "Allegro"),
    _one_list("SanaVideoTransformer3DModel", "SanaVideo", "SanaImageToVideo"),
    _one_list("SanaWMTransformer3DModel", "SanaWM", name="blocks", returns=X),
    _one_list(
        "SanaWMLTX2RefinerTransformer3DModel",
        "SanaWMLTX2Refiner",
        aside={"kv_cache_mode": ("capture_pre_rope", "inject_and_capture_post_rope")},
    ),
    _one_list("MiniMaxH3Transformer3DModel", "MiniMaxH3Modular", levels=True),
    Target("LatteTransformer3DModel", ALL, opaque=True, pipelines=("Latte",)),
)

AUDIO = (
    _one_list("StableAudioDiTModel", "StableAudio"),
    _one_list("StableAudio3DiTModel", "StableAudio3", "StableAudio3AudioToAudio", "StableAudio3Inpaint"),
    _one_list("MiniMaxMusic3Transformer1DModel", "MiniMaxMusic3Modular"),
    _one_list("AceStepTransformer1DModel", "AceStep", name="layers"),
    _one_list("LongCatAudioDiTTransformer", "LongCatAudioDiT", name="blocks"),
)

U_NETS = (
    Target(
        "UNet2DConditionModel",
        DEEP,
        opaque=True,
        pipelines=("StableDiffusion", "StableDiffusionImg2Img", "StableDiffusionControlNet", "StableDiffusionXL"),
        tested=f"Stable Diffusion pipelines, {RANDOM}",
    ),
)

DIFFUSERS = tuple(
    replace(target, tested=target.tested or RANDOM, library="diffusers") for target in (*IMAGE, *VIDEO, *AUDIO, *U_NETS)
)
