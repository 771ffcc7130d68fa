"""Which models of a pipeline are forecast, and what tells one model and one run from another."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from torch import nn

from padecast._errors import UnsupportedModel

MODELS = ("transformer", "transformer_2", "transformer_ref", "unet")


def is_bare(pipe: Any) -> bool:
    """Whether a model was given by itself, and no pipeline around one.

    Pipelines of serving libraries are modules too: what tells them from a model is that they hold one, and a scheduler.

    Example:
        >>> pipe = nn.Module()
        >>> pipe.transformer = nn.Linear(2, 2)
        >>> is_bare(pipe)
        True
        >>> pipe.scheduler = object()
        >>> is_bare(pipe), is_bare(pipe.transformer)
        (False, True)
    """
    if not isinstance(pipe, nn.Module):
        return False
    holds_model = any(isinstance(getattr(pipe, name, None), nn.Module) for name in MODELS)
    return not holds_model or getattr(pipe, "scheduler", None) is None


def attributes_of(pipe: Any) -> dict[str, Any]:
    """Return what a pipeline holds, by name: a module keeps its modules apart from the rest."""
    attributes = getattr(pipe, "__dict__", {})
    return {**attributes, **attributes["_modules"]} if isinstance(pipe, nn.Module) else attributes


def models_of(pipe: Any) -> list[nn.Module]:
    """Return the models of a pipeline whose stack is forecast, or the model itself."""
    if is_bare(pipe):
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
