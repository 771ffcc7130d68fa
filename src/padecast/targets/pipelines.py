"""Which models of a pipeline are forecast, and what tells one model and one run from another."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

from padecast._errors import UnsupportedModel

MODELS = ("transformer", "transformer_2", "unet")


def models_of(pipe: Any) -> list[nn.Module]:
    """Return the models of a pipeline whose stack is forecast, or the model itself."""
    if isinstance(pipe, nn.Module):
        return [getattr(pipe, "_orig_mod", pipe)]
    parts = [getattr(pipe, name, None) for name in MODELS]
    models = list(dict.fromkeys(getattr(model, "_orig_mod", model) for model in parts if isinstance(model, nn.Module)))
    if not models:
        raise UnsupportedModel(
            f"{type(pipe).__name__} is neither a transformer nor a pipeline with one "
            f"(no attribute {' or '.join(map(repr, MODELS))}).\n"
            "Give the pipeline itself, or the model that its denoising loop calls."
        )
    return models


def guidance_of(pipe: Any) -> float | None:
    """Return the guidance scale of a pipeline's latest run, if it says so."""
    value = getattr(pipe, "guidance_scale", None)
    return float(value) if isinstance(value, (int, float)) else None


def fingerprint(model: Any) -> str:
    """Return a hash of what a model's configuration says of its shape; paths and releases do not count."""
    config = {k: v for k, v in dict(getattr(model, "config", {})).items() if not str(k).startswith("_")}
    return hashlib.sha256(json.dumps(config, sort_keys=True, default=str).encode()).hexdigest()[:16]
