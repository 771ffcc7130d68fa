"""Which classes of diffusers denoise, and why some of them are not described."""

from __future__ import annotations

import inspect
import re
from typing import Any

import diffusers
from diffusers.models.cache_utils import CacheMixin
from torch import nn

U_NET = "a U-Net; of these only Stable Diffusion's is described"
PART = "a part of other models, which no pipeline samples with"
CONTROL = "a ControlNet, which runs at every step beside the transformer that is forecast"
OLD = "of a pipeline that diffusers has deprecated"
TOKENS = "draws discrete tokens, whose logits are sampled anew at every step"

REASONS = {
    "AudioLDM2UNet2DConditionModel": U_NET,
    "DreamLiteTransformer2DModel": "a part of DreamLiteUNetModel",
    "DreamLiteUNetModel": U_NET,
    "I2VGenXLUNet": U_NET,
    "Kandinsky3UNet": U_NET,
    "MiniMaxMusic3RVQDepthDecoder": "writes codes one after the other, and denoises nothing",
    "MotionAdapter": "a part of UNetMotionModel",
    "PriorTransformer": "makes one vector of a text; CONTRIBUTING.md describes it as its example, which a test follows",
    "QwenImageControlNetModel": CONTROL,
    "QwenImageMultiControlNetModel": CONTROL,
    "RFD4ProteinaTransformer": "goes through its layers several times in a call, and its sampler draws noise",
    "StableCascadeUNet": U_NET,
    "T5FilmDecoder": OLD,
    "Transformer2DModel": PART,
    "TransformerTemporalModel": PART,
    "UNet1DModel": U_NET,
    "UNet2DModel": U_NET,
    "UNet3DConditionModel": U_NET,
    "UNetControlNetXSModel": "a U-Net and a ControlNet in one, whose blocks exchange features at every depth",
    "UNetMotionModel": U_NET,
    "UNetSpatioTemporalConditionModel": U_NET,
    "UVit2DModel": TOKENS,
    "UniDiffuserModel": OLD,
}
"""Why a class is not described. Where it denoises step by step, its output can be forecast all the same."""

CALLED = re.compile(r"transformer|unet|prior$|decoder$|denoiser")
"""What pipelines call the part that they sample with."""


def denoisers() -> list[str]:
    """Return the classes that denoise, or might: public in diffusers, by name.

    These are all that take a cache of diffusers, lie among its transformers or U-Nets, or are what a pipeline samples
    with.
    """
    public = {name: value for name in dir(diffusers) if inspect.isclass(value := getattr(diffusers, name, None))}
    pipelines = [value for value in public.values() if issubclass(value, diffusers.DiffusionPipeline)]
    sampled = {word for pipeline in pipelines for word in _sampled_with(pipeline)}
    homes = ("diffusers.models.transformers", "diffusers.models.unets")
    models = {name: value for name, value in public.items() if issubclass(value, nn.Module)}
    return [
        name
        for name, value in models.items()
        if issubclass(value, CacheMixin) or value.__module__.startswith(homes) or name in sampled
    ]


def _sampled_with(pipeline: Any) -> list[str]:
    parameters = inspect.signature(pipeline.__init__).parameters
    return [
        word
        for name, parameter in parameters.items()
        if CALLED.match(name)
        for word in re.findall(r"\w+", str(parameter.annotation))
    ]
