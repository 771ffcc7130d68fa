"""The transformer and U-Net classes of diffusers: a line or a few each."""

from __future__ import annotations

from dataclasses import replace

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


def _like_flux(model: str, *pipelines: str) -> Target:
    lists = {"transformer_blocks": TEXT_IMAGE, "single_transformer_blocks": TEXT_IMAGE}
    return Target(model, lists, spans=FLUX, pipelines=pipelines)


def _joint(model: str, *pipelines: str, then: BlockOutput = TEXT_THEN_IMAGE) -> Target:
    lists = {"transformer_blocks": TEXT_IMAGE, "single_transformer_blocks": then}
    return Target(model, lists, spans=FLUX, pipelines=pipelines)


def _one_list(model: str, *pipelines: str, name: str = "transformer_blocks", returns: BlockOutput = HIDDEN) -> Target:
    return Target(
        model, {name: returns}, main=returns.names[0] if returns.bare else "hidden_states", pipelines=pipelines
    )


IMAGE = (
    _one_list("DiTTransformer2DModel", "DiT", "padecast.zoo digits"),
    _like_flux(
        "FluxTransformer2DModel",
        *("Flux", "FluxImg2Img", "FluxInpaint", "FluxFill", "FluxControl", "FluxControlImg2Img", "FluxControlInpaint"),
        *("FluxControlNet", "FluxControlNetImg2Img", "FluxControlNetInpaint", "FluxKontext", "FluxKontextInpaint"),
    ),
    _joint("Flux2Transformer2DModel", "Flux2", "Flux2Klein", "Flux2KleinInpaint"),
    Target("Flux3Transformer2DModel", {"single_transformer_blocks": TEXT_IMAGE}),
    _joint("ChromaTransformer2DModel", "Chroma", "ChromaImg2Img", "ChromaInpaint"),
    _like_flux("OvisImageTransformer2DModel", "OvisImage"),
    _like_flux("LongCatImageTransformer2DModel", "LongCatImage", "LongCatImageEdit"),
    _like_flux("BriaTransformer2DModel", "Bria"),
    _joint("BriaFiboTransformer2DModel", "BriaFibo", "BriaFiboEdit"),
    _one_list("BriaFibo2Transformer2DModel", "BriaFibo2", name="layers", returns=X),
    _one_list(
        "SD3Transformer2DModel",
        *("StableDiffusion3", "StableDiffusion3Img2Img", "StableDiffusion3Inpaint", "StableDiffusion3ControlNet"),
        *("StableDiffusion3ControlNetInpainting", "StableDiffusion3PAG", "StableDiffusion3PAGImg2Img"),
        returns=TEXT_IMAGE,
    ),
    _one_list(
        "QwenImageTransformer2DModel",
        *("QwenImage", "QwenImageImg2Img", "QwenImageInpaint", "QwenImageEdit", "QwenImageEditPlus"),
        *("QwenImageEditInpaint", "QwenImageControlNet", "QwenImageControlNetInpaint", "QwenImageLayered"),
        returns=TEXT_IMAGE,
    ),
    _one_list("QwenImage21Transformer2DModel", "QwenImage21"),
    Target(
        "HunyuanImageTransformer2DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        spans=FLUX,
        pipelines=("HunyuanImage", "HunyuanImageRefiner"),
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
    _one_list("GlmImageTransformer2DModel", "GlmImage", returns=IMAGE_TEXT),
    _one_list("Lumina2Transformer2DModel", "Lumina2", name="layers"),
    _one_list("LuminaNextDiT2DModel", "Lumina", name="layers"),
    Target(
        "ZImageTransformer2DModel",
        {"layers": X},
        main="x",
        timestep="t",
        pipelines=(
            "ZImage",
            "ZImageImg2Img",
            "ZImageInpaint",
            "ZImageControlNet",
            "ZImageControlNetInpaint",
            "ZImageOmni",
        ),
    ),
    Target("OmniGenTransformer2DModel", {"layers": HIDDEN}, pipelines=("OmniGen",)),
    _one_list("HunyuanDiT2DModel", "HunyuanDiT", "HunyuanDiTControlNet", "HunyuanDiTPAG", name="blocks"),
    _one_list("PRXTransformer2DModel", "PRX", "PRXPixel", name="blocks"),
    _one_list("Krea2Transformer2DModel", "Krea2"),
    Target("ErnieImageTransformer2DModel", {"layers": X}, main="x", samples=1, pipelines=("ErnieImage",)),
    _one_list("Ideogram4Transformer2DModel", "Ideogram4", name="layers"),
    _one_list("NucleusMoEImageTransformer2DModel", "NucleusMoEImage"),
    _one_list("JoyImageEditTransformer3DModel", "JoyImageEdit", name="double_blocks", returns=IMAGE_TEXT),
)

VIDEO = (
    _one_list("WanTransformer3DModel", "Wan", "WanImageToVideo", "WanVideoToVideo", "LucyEdit", name="blocks"),
    _one_list("WanVACETransformer3DModel", "WanVACE", name="blocks"),
    _one_list("WanAnimateTransformer3DModel", "WanAnimate", name="blocks"),
    _one_list("ChronoEditTransformer3DModel", "ChronoEdit", name="blocks"),
    _one_list("SkyReelsV2Transformer3DModel", "SkyReelsV2", "SkyReelsV2ImageToVideo", name="blocks"),
    _one_list("AnyFlowTransformer3DModel", "AnyFlow", name="blocks"),
    _one_list("HeliosTransformer3DModel", "Helios", name="blocks"),
    Target(
        "HunyuanVideoTransformer3DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        spans=FLUX,
        pipelines=("HunyuanVideo", "HunyuanVideoImageToVideo", "HunyuanSkyreelsImageToVideo"),
    ),
    Target(
        "HunyuanVideoFramepackTransformer3DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        spans=FLUX,
        pipelines=("HunyuanVideoFramepack",),
    ),
    Target(
        "MotifVideoTransformer3DModel",
        {"transformer_blocks": IMAGE_TEXT, "single_transformer_blocks": IMAGE_TEXT},
        pipelines=("MotifVideo", "MotifVideoImage2Video"),
    ),
    _one_list("HunyuanVideo15Transformer3DModel", "HunyuanVideo15", "HunyuanVideo15ImageToVideo", returns=IMAGE_TEXT),
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
    ),
    _one_list("ConsisIDTransformer3DModel", "ConsisID", returns=IMAGE_TEXT),
    _one_list("EasyAnimateTransformer3DModel", "EasyAnimate", "EasyAnimateInpaint", returns=IMAGE_TEXT),
    _one_list("MochiTransformer3DModel", "Mochi", returns=IMAGE_TEXT),
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
    Target("LatteTransformer3DModel", ALL, opaque=True, pipelines=("Latte",)),
)

AUDIO = (
    _one_list("StableAudioDiTModel", "StableAudio"),
    _one_list("StableAudio3DiTModel", "StableAudio3", "StableAudio3AudioToAudio", "StableAudio3Inpaint"),
    _one_list("AceStepTransformer1DModel", "AceStep", name="layers"),
    _one_list("LongCatAudioDiTTransformer", "LongCatAudioDiT", name="blocks"),
)

U_NETS = (
    Target(
        "UNet2DConditionModel",
        DEEP,
        opaque=True,
        pipelines=("StableDiffusion", "StableDiffusionImg2Img", "StableDiffusionControlNet", "StableDiffusionXL"),
    ),
)

RANDOM = "tiny random weights"
TESTED = {
    "DiTTransformer2DModel": f"trained digits; DiTPipeline, {RANDOM}",
    "FluxTransformer2DModel": f"Flux pipelines, {RANDOM}",
    "WanTransformer3DModel": f"Wan pipelines, {RANDOM}",
    "UNet2DConditionModel": f"Stable Diffusion pipelines, {RANDOM}",
}
NORMED = (
    *("DiTTransformer2DModel", "FluxTransformer2DModel", "OvisImageTransformer2DModel"),
    *("LongCatImageTransformer2DModel", "BriaTransformer2DModel", "SD3Transformer2DModel"),
    *("HunyuanVideoTransformer3DModel", "MochiTransformer3DModel", "CogVideoXTransformer3DModel"),
)
TIMED = ("WanTransformer3DModel", "WanVACETransformer3DModel", "SkyReelsV2Transformer3DModel")
MODULATED = dict.fromkeys(NORMED, "transformer_blocks.0.norm1") | dict.fromkeys(TIMED, "condition_embedder.time_proj")
"""What TeaCache's rule looks at: the first block's modulated input, or the embedding that modulates it."""
Masks = dict[str, tuple[str, ...]]
IN_IMAGE: Masks = {"attention_mask": ("hidden_states",)}
IN_TEXT: Masks = {"attention_mask": ("encoder_hidden_states",)}
IN_BOTH: Masks = {"attention_mask": IMAGE_TEXT.names}
MASKS: dict[str, Masks] = {
    "ZImageTransformer2DModel": {"attn_mask": ("x",)},
    "BriaFibo2Transformer2DModel": {"attn_mask": ("x",)},
    "ErnieImageTransformer2DModel": {"attention_mask": ("x",)},
    "QwenImage21Transformer2DModel": {"key_valid": ("hidden_states",)},
    "QwenImageTransformer2DModel": {"encoder_hidden_states_mask": ("encoder_hidden_states",)},
    "MochiTransformer3DModel": {"encoder_attention_mask": ("encoder_hidden_states",)},
    "ChromaTransformer2DModel": {"attention_mask": TEXT_IMAGE.names},
    "BriaFiboTransformer2DModel": {"joint_attention_kwargs.attention_mask": TEXT_IMAGE.names},
    "Lumina2Transformer2DModel": IN_IMAGE,
    "Krea2Transformer2DModel": IN_IMAGE,
    "Ideogram4Transformer2DModel": IN_IMAGE,
    "OmniGenTransformer2DModel": IN_IMAGE,
    "HunyuanVideo15Transformer3DModel": IN_TEXT,
    "HunyuanImageTransformer2DModel": IN_BOTH,
    "HunyuanVideoTransformer3DModel": IN_BOTH,
    "HunyuanVideoFramepackTransformer3DModel": IN_BOTH,
    "MotifVideoTransformer3DModel": IN_BOTH,
}
"""Which arguments of the blocks say that rows only fill up a batch."""
DIFFUSERS = tuple(
    replace(
        target,
        tested=TESTED.get(target.model, RANDOM),
        modulated=MODULATED.get(target.model, ""),
        masks=MASKS.get(target.model, {}),
    )
    for target in (*IMAGE, *VIDEO, *AUDIO, *U_NETS)
)
