"""A pipeline with a tiny transformer, and the parts that such pipelines are made of."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler
from tests.targets import cases_first, cases_image, cases_more, cases_newer, cases_video
from tests.targets.case import noise
from tests.tiny import quiet
from torch import Tensor, nn

STEPS = 6


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


def model(name: str, variant: str = "", **changes: Any) -> nn.Module:
    """Build the transformer of a case, with some of its configuration changed."""
    cases = [
        case for listed in (cases_first, cases_image, cases_more, cases_newer, cases_video) for case in listed.CASES
    ]
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
