"""padecast's trained demo models on the CPU, as the pack of nodes builds them."""

from __future__ import annotations

import importlib.util
import math
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tests.comfy import engine
from tests.comfy.models import Conditioning
from torch import Tensor

MODELS = Path(__file__).resolve().parents[2] / "comfyui" / "models.py"


@cache
def pack() -> Any:
    """Import the pack's models without its nodes, which want more of ComfyUI than its engine."""
    engine.load()
    spec = importlib.util.spec_from_file_location("pack_models", MODELS)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _patch(model: Any) -> Any:
    cpu = torch.device("cpu")
    return engine.load().model_patcher.ModelPatcher(model, load_device=cpu, offload_device=cpu)


def pipeline(name: str) -> Any:
    """Return the demo pipeline of diffusers, which encodes and decodes."""
    return pack().pipeline(name)


def scenes(shift: float = math.log(3)) -> Any:
    """Return scenes as a ModelPatcher of ComfyUI's Flux, with its own noise levels or others."""
    return _patch(pack().make_scenes(shift))


def motion(shift: float = 3.0) -> Any:
    """Return motion as a ModelPatcher of ComfyUI's WanModel, with its own noise levels or others."""
    return _patch(pack().make_motion(shift))


def encode_scene(caption: str, guidance: float = 3.5) -> Conditioning:
    """Return what a caption becomes for scenes."""
    conditioning: Conditioning = pack().encode_scene(caption, guidance)
    return conditioning


def encode_clip(caption: str) -> Conditioning:
    """Return what a caption becomes for motion."""
    conditioning: Conditioning = pack().encode_clip(caption)
    return conditioning


def latents_of(model: Any, result: Tensor) -> Tensor:
    """Return what ComfyUI's sampler made, on the model's own scale."""
    latents: Tensor = model.model.process_latent_in(result)
    return latents


def show_scene(latents: Tensor) -> Tensor:
    """Decode latents of scenes, to 0 to 1."""
    picture: Tensor = pack().show_scene(latents)
    return picture


def show_clip(latents: Tensor) -> Tensor:
    """Decode latents of motion, to 0 to 1, as one sample of frames."""
    clip: Tensor = pack().show_clip(latents)
    return clip


def decibels(picture: Tensor, reference: Tensor) -> float:
    """Return the PSNR of pictures of 0 to 1."""
    return float(-10 * (picture - reference).square().mean().log10())
