"""Which models of a pipeline are forecast."""

from __future__ import annotations

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
