"""How a pipeline is called that nobody has said anything of: by the family of its model, with prompts that ship."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from padecast import zoo
from padecast._errors import unknown
from padecast.lab.calls import parameters
from padecast.lab.experiment import Setting
from padecast.zoo.worlds import WORLDS

PICTURES = (
    "a lighthouse on a cliff at dusk, waves below, oil painting",
    "a street market in the rain, umbrellas and reflections, photograph",
    "a bowl of ripe figs beside a brass candlestick on a linen cloth",
    "a red tram climbing a steep street between tiled houses",
    "a barn owl in flight over a snowy field, seen from the front",
    "an astronaut repairing a bicycle in a workshop full of tools",
    "a wooden sign that reads OPEN, hanging in a shop window",
    "a map of an invented island, drawn in ink and watercolour",
)
"""Prompts of pictures that ship: many things and few, text, surfaces, and styles."""
CLIPS = (
    "a sailing boat crosses a bay at sunrise, the camera follows slowly",
    "a potter shapes a bowl on a turning wheel, close view of the hands",
    "a fox trots through fresh snow between birches",
    "rain runs down a window, the lights of cars pass behind it",
)
"""Prompts of clips that ship."""
CAPTIONS = 16


@dataclass(frozen=True)
class Family:
    """How the models of a family are called.

    Args:
        steps: Sampler steps.
        guidance: Guidance scale; the pipeline's own if ``None``.
        prompts: That ship.
        arguments: Further arguments of the pipeline.
        pipelines: Classes of diffusers that draw with it.
        checkpoints: What is published under which name on the Hub: names that are no secret.
    """

    steps: int
    guidance: float | None = None
    prompts: tuple[str, ...] = PICTURES
    arguments: Mapping[str, Any] = field(default_factory=dict)
    pipelines: tuple[str, ...] = ()
    checkpoints: tuple[str, ...] = ()


SQUARE = {"height": 1024, "width": 1024}
SMALL = {"height": 480, "width": 832, "num_frames": 33}
"""A clip of two seconds: most of what a model shows on its way is there, at under half of the price of five."""
FAMILIES = {
    "flux": Family(
        28,
        3.5,
        arguments=SQUARE,
        pipelines=("FluxPipeline",),
        checkpoints=("black-forest-labs/FLUX.1-dev", "black-forest-labs/FLUX.1-Krea-dev"),
    ),
    "wan": Family(
        50,
        5.0,
        CLIPS,
        SMALL,
        ("WanPipeline",),
        (
            "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            "Wan-AI/Wan2.1-T2V-14B-Diffusers",
            "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
            "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
        ),
    ),
    "qwen": Family(
        50,
        arguments={**SQUARE, "true_cfg_scale": 4.0, "negative_prompt": " "},
        pipelines=("QwenImagePipeline",),
        checkpoints=("Qwen/Qwen-Image", "Qwen/Qwen-Image-2512"),
    ),
    "sd3": Family(
        28,
        7.0,
        arguments=SQUARE,
        pipelines=("StableDiffusion3Pipeline",),
        checkpoints=(
            "stabilityai/stable-diffusion-3-medium-diffusers",
            "stabilityai/stable-diffusion-3.5-medium",
            "stabilityai/stable-diffusion-3.5-large",
        ),
    ),
    "hunyuan-video": Family(50, 6.0, CLIPS, SMALL, ("HunyuanVideoPipeline",), ("hunyuanvideo-community/HunyuanVideo",)),
    "cogvideox": Family(
        50,
        6.0,
        CLIPS,
        {"height": 480, "width": 720, "num_frames": 49},
        ("CogVideoXPipeline",),
        ("THUDM/CogVideoX-2b", "THUDM/CogVideoX-5b", "zai-org/CogVideoX-2b", "zai-org/CogVideoX-5b"),
    ),
}
"""Steps and guidance are the defaults of diffusers' pipelines; clips are shorter than theirs."""


def family_of(pipe: Any, source: str, like: str | None = None) -> Family:
    """Return how a pipeline is called.

    Args:
        pipe: The pipeline.
        source: As it was asked for; a demo model is called as the demo is, whatever it is like.
        like: The name of a family. By default it is known by the pipeline's class; one of no class that is known has
            its own steps and guidance.

    Raises:
        UnknownName: If there is no family of that name.

    Example:
        >>> family_of(zoo.load("digits"), "digits", "flux").steps, family_of(zoo.load("digits"), "digits").steps
        (28, 20)
    """
    if like is not None and like not in FAMILIES:
        raise unknown("family of models", like, FAMILIES)
    if is_demo(source):
        family = _demo(source.partition(":")[0])
        return family if like is None else dataclasses.replace(family, steps=FAMILIES[like].steps)
    if like is not None:
        return FAMILIES[like]
    known = (family for family in FAMILIES.values() if type(pipe).__name__ in family.pipelines)
    return next(known, None) or _describe(pipe)


def is_demo(source: str) -> bool:
    """Whether a demo model is meant.

    Example:
        >>> is_demo("scenes:as-flux"), is_demo("owner/scenes")
        (True, False)
    """
    return source in zoo.NAMES or source in WORLDS


def name_of(pipe: Any, source: str) -> str:
    """Return a name that is no secret: of a demo, or a published checkpoint; else the class of the pipeline.

    Example:
        >>> name_of(None, "black-forest-labs/FLUX.1-dev"), name_of(0, "someone/secret")
        ('black-forest-labs/FLUX.1-dev', 'int')
    """
    public = is_demo(source) or any(source in family.checkpoints for family in FAMILIES.values())
    return source if public else type(pipe).__name__


def setting_of(pipe: Any, family: Family) -> Setting:
    """Return the setting of a family on a pipeline, with those of its arguments that the pipeline takes."""
    takes = parameters(pipe)
    arguments = {name: value for name, value in family.arguments.items() if name in takes}
    prompts = family.prompts if "prompt" in takes else ()
    guidance = family.guidance if "guidance_scale" in takes else None
    return Setting(f"{family.steps} steps", family.steps, guidance, prompts=prompts, arguments=arguments)


def _demo(model: str) -> Family:
    if model == "digits":
        return Family(20, prompts=())
    grammar = importlib.import_module(f"padecast.zoo.{model}.grammar")
    generator = torch.Generator().manual_seed(0)
    captions = dict.fromkeys(grammar.draw(generator, held_out=True).caption for _ in range(CAPTIONS))
    return Family(20, prompts=tuple(captions), arguments={"max_sequence_length": 32})


def _describe(pipe: Any) -> Family:
    """Return a family of one: with the defaults that the pipeline's call has."""
    signature = inspect.signature(pipe.__call__).parameters
    steps = getattr(signature.get("num_inference_steps"), "default", None)
    prompts = CLIPS if "num_frames" in signature else PICTURES
    return Family(steps if isinstance(steps, int) and steps > 1 else 28, prompts=prompts)
