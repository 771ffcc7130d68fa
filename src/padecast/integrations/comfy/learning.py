"""Lessons of ComfyUI's runs: whose they are, and what serves the run that begins."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from padecast.handles.learning import Learning, Sampling, Start
from padecast.lessons import Identity
from padecast.lessons.identity import FEW, hash_tensors
from padecast.session.grid import Grid


def begin(grid: Grid, size: float) -> Start:
    """Return what is known of a run that begins.

    Args:
        grid: Of its sampler.
        size: Numbers of one sample's latents.
    """
    noise = grid.noise(size)
    return Start(grid.steps, noise, tuple(1000 * sigma for sigma in noise.sigmas[:-1]))


def serve(
    learning: Learning, guider: Any, options: Mapping[str, Any], grid: Grid, size: float, scale: float | None
) -> Any:
    """Return the method of the run that begins.

    Args:
        learning: Which has the lessons.
        guider: ComfyUI's, which knows the model and the guidance scale.
        options: ComfyUI's ``model_options`` of the run.
        grid: Of its sampler.
        size: Numbers of one sample's latents.
        scale: Guidance that the model itself is told, where it is.
    """

    def read() -> Sampling:
        return Sampling(identify(guider, options, grid.output, scale), learning.method.forecaster)

    return learning.serve(read, begin(grid, size), type(guider).__name__)


def identify(guider: Any, options: Mapping[str, Any], prediction: str, scale: float | None) -> Identity:
    """Return whose a lesson of a run is: the model with its patches, and all that guidance is made of.

    Args:
        guider: ComfyUI's.
        options: ComfyUI's ``model_options`` of the run.
        prediction: What is forecast.
        scale: Guidance that the model itself is told, where it is.
    """
    patcher = guider.model_patcher
    model, cfg = patcher.model.diffusion_model, getattr(guider, "cfg", None)
    config = getattr(getattr(patcher.model, "model_config", None), "unet_config", {})
    functions = [
        getattr(function, "__qualname__", type(function).__name__)
        for name in ("sampler_pre_cfg_function", "sampler_post_cfg_function")
        for function in options.get(name, ())
    ]
    return Identity(
        model=type(model).__name__,
        config=_hash(json.dumps({key: str(value) for key, value in config.items()}, sort_keys=True).encode()),
        weights=hash_tensors(_weights(patcher, model)),
        adapters=tuple(sorted(_patches(patcher))),
        pipeline=" ".join(("ComfyUI", type(guider).__name__, *functions)),
        guidance=None if cfg is None else float(f"{cfg:.3g}"),
        scales=() if scale is None else (("guidance_scale", scale),),
        prediction=prediction,
    )


def _hash(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]


def _weights(patcher: Any, model: Any) -> dict[str, Tensor]:
    """Return weights as they are without patches, which come and go."""
    backup = getattr(patcher, "backup", None) or {}
    return {
        name: getattr(backup.get(f"diffusion_model.{name}"), "weight", tensor)
        for name, tensor in model.named_parameters()
    }


def _few(tensor: Tensor) -> bytes:
    flat = tensor.detach().reshape(-1)
    return flat[:: max(flat.numel() // FEW, 1)][:FEW].to("cpu", torch.float32).numpy().tobytes()


def _patches(patcher: Any) -> Iterator[tuple[str, float]]:
    """Yield the strengths of patches, such as LoRAs, under a hash of what each adds."""
    groups: dict[tuple[float, int], list[bytes]] = {}
    for name, stack in sorted((getattr(patcher, "patches", None) or {}).items()):
        for place, patch in enumerate(stack):
            numbers = [_few(tensor) for tensor in _tensors(patch[1])]
            groups.setdefault((float(patch[0]), place), []).extend([str(name).encode(), *numbers])
    for (strength, _), parts in groups.items():
        yield _hash(*parts), strength


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of a patch: bare, in tuples, or those of an adapter."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "weights"):
        yield from _tensors(value.weights)
