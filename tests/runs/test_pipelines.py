"""The real pipelines of many model families: each tells the model its timestep and its guidance in its own way."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import diffusers
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from tests.targets import cases_first, cases_image, cases_more, cases_video
from tests.targets.case import noise
from tests.tiny import no_text, quiet, vae
from torch import Tensor, nn

from padecast import accelerate, targets
from padecast._stack import stack_of
from padecast.forecasters import Lagrange, Oracle, Reuse
from padecast.policies import Always, Plan

PLAN = "CC.C.C"
STEPS, NFE = len(PLAN), PLAN.count("C")
ROUNDING = {"rtol": 1e-4, "atol": 1e-4}

pytestmark = [
    pytest.mark.filterwarnings("ignore:In CPU autocast"),  # Mochi asks for an autocast that a CPU has not
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


def pooled(width: int) -> dict[str, Tensor]:
    return {"pooled_prompt_embeds": noise(1, width, seed=3), "negative_pooled_prompt_embeds": noise(1, width, seed=4)}


def masks(*names: str, length: int = 5, dtype: torch.dtype = torch.long) -> dict[str, Tensor]:
    """Mask the last tokens: one of the prompt, two of the negative one."""
    positions = torch.arange(length)
    return {name: (positions < length - 1 - place).to(dtype)[None] for place, name in enumerate(names)}


MASKS = ("prompt_attention_mask", "negative_prompt_attention_mask")


def square(side: int) -> dict[str, int]:
    return {"height": side, "width": side}


def picture(side: int = 16, seed: int = 6) -> Tensor:
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(seed))


def upper_half(side: int = 16) -> Tensor:
    return (torch.arange(side)[:, None] < side // 2).float().expand(1, 1, side, side)


# Families -------------------------------------------------------------------------------------------------------------


def flux(kind: str, **changes: Any) -> Callable[[], Any]:
    return lambda: build(
        kind, model("FluxTransformer2DModel", "guidance", **changes), vae=vae(1), **no_text()
    )


def flux_text(negative: bool = True) -> dict[str, Any]:
    given = texts(8) | pooled(8) | square(16)
    return {name: value for name, value in given.items() if negative or not name.startswith("negative")}


FLUX = (
    Family(
        "FluxInpaintPipeline",
        flux("FluxInpaintPipeline"),
        lambda: (
            flux_text()
            | {"image": picture(), "mask_image": upper_half(), "strength": 1.0, "true_cfg_scale": 3.0}
        ),
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
        lambda: (
            flux_text()
            | {"image": picture(), "true_cfg_scale": 3.0, "_auto_resize": False, "max_area": 256}
        ),
    ),
    Family(
        "Flux2Pipeline",
        lambda: build("Flux2Pipeline", model("Flux2Transformer2DModel")),
        lambda: {"prompt_embeds": words(12), **square(64)},
        branches=1,
    ),
    Family(
        "Flux2KleinPipeline",
        lambda: build("Flux2KleinPipeline", model("Flux2Transformer2DModel", "without guidance")),
        lambda: texts(12) | square(64),
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
        "StableDiffusion3Pipeline skip layers",
        lambda: build("StableDiffusion3Pipeline", model("SD3Transformer2DModel", "dual attention")),
        lambda: texts(12) | pooled(10) | square(64) | {"mu": 1.0},
        branches=1,
    ),
    Family(
        "StableDiffusion3Img2ImgPipeline",
        lambda: build("StableDiffusion3Img2ImgPipeline", model("SD3Transformer2DModel"), vae=vae(4)),
        lambda: texts(12) | pooled(10) | {"image": picture(), "strength": 1.0, **square(16)},
        branches=1,
    ),
)

QWEN = (
    Family(
        "QwenImagePipeline",
        lambda: build("QwenImagePipeline", model("QwenImageTransformer2DModel")),
        lambda: texts(12) | masks("prompt_embeds_mask", "negative_prompt_embeds_mask") | square(64),
    ),
)

WAN = ()

OTHER_VIDEO = (
    Family(
        "HunyuanVideoPipeline",
        lambda: build("HunyuanVideoPipeline", model("HunyuanVideoTransformer3DModel", guidance_embeds=True)),
        lambda: (
            texts(16) | pooled(8) | masks(*MASKS) | square(32) | {"num_frames": 5, "true_cfg_scale": 3.0}
        ),
    ),
    Family(
        "LTXPipeline",
        lambda: build("LTXPipeline", model("LTXVideoTransformer3DModel")),
        lambda: texts(16) | masks(*MASKS) | square(64) | {"num_frames": 9},
        branches=1,
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

OTHER_IMAGE = (
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
        lambda: (
            texts(12)
            | masks(*MASKS)
            | square(64)
            | {"negative_prompt": None, "use_resolution_binning": False}
        ),
        branches=1,
    ),
    Family(
        "SanaPipeline",
        lambda: build("SanaPipeline", model("SanaTransformer2DModel")),
        lambda: (
            texts(12)
            | masks(*MASKS)
            | square(128)
            | {"negative_prompt": None, "use_resolution_binning": False}
        ),
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
        lambda: texts(12) | masks(*MASKS) | square(64),
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
        lambda: build("HiDreamImagePipeline", model("HiDreamImageTransformer2DModel")),
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
)

FAMILIES: tuple[Family, ...] = (*FLUX, *STABLE_DIFFUSION, *QWEN, *WAN, *OTHER_VIDEO, *OTHER_IMAGE)
every_family = pytest.mark.parametrize("family", FAMILIES, ids=str)


# What is looked at ----------------------------------------------------------------------------------------------------


def count_blocks(pipe: Any, name: str = "transformer") -> Counter[int]:
    """Count how often each block of a pipeline's stack really runs, from now on."""
    owner = getattr(pipe, name)
    parts = stack_of(owner, targets.find(owner), "full").parts
    runs = Counter(dict.fromkeys(range(len(parts)), 0))
    for place, part in enumerate(parts):

        def counting(*args: Any, _forward: Any = part.forward, _place: int = place, **kwargs: Any) -> Any:
            runs[_place] += 1
            return _forward(*args, **kwargs)

        part.forward = counting
    return runs


@every_family
def test_a_family(family: Family) -> None:
    pipe = family.make()
    runs = count_blocks(pipe)
    untouched = family.sample(pipe)
    assert set(runs.values()) == {STEPS * family.branches}
    assert bool(untouched.isfinite().all())

    with accelerate(pipe, policy=Always(), forecaster=Lagrange()) as run:
        assert torch.equal(family.sample(pipe), untouched), "all computed, and not bit-identical"
    assert (run.report.plan, run.report.unplaced, run.report.notes) == ("C" * STEPS, 0, {})
    assert len(run.report.branches) == family.branches

    with accelerate(pipe, policy=Plan(PLAN), forecaster=Oracle()) as run:
        close(family.sample(pipe), untouched)
    assert run.report.plan == PLAN

    runs.update(dict.fromkeys(runs, 0))
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        runs.subtract(dict(runs))
        forecast = family.sample(pipe)
        assert set(runs.values()) == {NFE * family.branches}
        assert (run.report.plan, run.report.unplaced, run.report.notes) == (PLAN, 0, {})
        assert torch.equal(family.sample(pipe), forecast), "the second run is not as the first"
        assert run.report.plan == PLAN
    assert set(runs.values()) == {2 * NFE * family.branches}
    assert bool(forecast.isfinite().all())
    assert not torch.allclose(forecast, untouched, rtol=1e-3, atol=1e-3)

    with accelerate(pipe, "tc-pade") as run:
        family.sample(pipe)
    assert run.report.forecast >= 1

    assert torch.equal(family.sample(pipe), untouched), "not as before"


def close(image: Tensor, untouched: Tensor) -> None:
    """Assert equality but for rounding, of which there is as much as the numbers are large."""
    torch.testing.assert_close(image, untouched, rtol=1e-4, atol=1e-4 * max(1.0, float(untouched.abs().max())))


class Stop(Exception):
    """Raised in the middle of a run."""


INTERRUPTED = [
    family
    for family in FAMILIES
    if "callback_on_step_end"
    in inspect.signature(getattr(diffusers, family.name.split()[0]).__call__).parameters
]


@pytest.mark.parametrize("family", INTERRUPTED, ids=str)
def test_an_interrupted_run_leaves_nothing_to_the_next(family: Family) -> None:
    def stop(_: Any, step: int, __: Any, given: dict[str, Any]) -> dict[str, Any]:
        if step == 3:
            raise Stop
        return given

    fresh, pipe = family.make(), family.make()
    with accelerate(fresh, policy=Plan(PLAN), forecaster=Lagrange()):
        expected = family.sample(fresh)
    with accelerate(pipe, policy=Plan(PLAN), forecaster=Lagrange()) as run:
        with pytest.raises(Stop):
            family.sample(pipe, seed=4, callback_on_step_end=stop)
        assert torch.equal(family.sample(pipe), expected)
    assert run.report.plan == PLAN
