"""Which classes of diffusers denoise, and why some of them are not described."""

from __future__ import annotations

import inspect
import re
import sys
from typing import Any, get_args

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
    "LTX2VideoDiffusionDecoderModel": "draws pixels of latents, in one step unless asked for more, all inside one call",
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
    "UNetFlatConditionModel": OLD,
    "UNetMotionModel": U_NET,
    "UNetSpatioTemporalConditionModel": U_NET,
    "UVit2DModel": TOKENS,
    "UniDiffuserModel": OLD,
    "WuerstchenDiffNeXt": OLD,
    "WuerstchenPrior": OLD,
}
"""Why a class is not described. Where it denoises step by step, its output can be forecast all the same."""

CALLED = re.compile(r"(.*_)?(transformer|unet|prior|denoiser)|(diffusion_)?decoder$")
"""What pipelines call the part that they sample with."""


def denoisers() -> list[str]:
    """Return the classes of diffusers that denoise, or might, by name.

    These are all that take a cache of diffusers, lie among its transformers or U-Nets, or are what a pipeline samples
    with, public or not.
    """
    public = [value for name in dir(diffusers) if inspect.isclass(value := getattr(diffusers, name, None))]
    pipelines = [value for value in public if issubclass(value, diffusers.DiffusionPipeline)]
    sampled = {part for pipeline in pipelines for part in _sampled_with(pipeline)}
    homes = ("diffusers.models.transformers", "diffusers.models.unets")
    return sorted(
        value.__name__
        for value in {*public, *sampled}
        if issubclass(value, nn.Module)
        and (issubclass(value, CacheMixin) or value.__module__.startswith(homes) or value in sampled)
    )


def _sampled_with(pipeline: Any) -> list[type]:
    parameters = inspect.signature(pipeline.__init__).parameters
    annotations = [parameter.annotation for name, parameter in parameters.items() if CALLED.match(name)]
    home = vars(sys.modules[pipeline.__module__])
    return [
        part for each in annotations for part in _list_classes(each, home) if part.__module__.startswith("diffusers")
    ]


def _list_classes(annotation: Any, home: dict[str, Any]) -> list[type]:
    """Return the classes that an annotation names, be it a class, a text or several."""
    if isinstance(annotation, str):
        values = [home.get(word, getattr(diffusers, word, None)) for word in re.findall(r"\w+", annotation)]
        return [value for value in values if inspect.isclass(value)]
    parts = [part for each in get_args(annotation) for part in _list_classes(each, home)]
    return [annotation] if inspect.isclass(annotation) and not parts else parts
