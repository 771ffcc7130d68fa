"""Which of many alike cases are run by ``make test``: one of every kind; ``make slow`` runs the others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

MODELS = (
    *("DiTTransformer2DModel", "FluxTransformer2DModel", "SD3Transformer2DModel", "ChromaTransformer2DModel"),
    *("UNet2DConditionModel", "QwenImageTransformer2DModel layered", "ZImageTransformer2DModel"),
    *("Lumina2Transformer2DModel", "PRXTransformer2DModel", "BriaFiboTransformer2DModel", "OmniGenTransformer2DModel"),
    *("HunyuanDiT2DModel", "ErnieImageTransformer2DModel", "Ideogram4Transformer2DModel", "StableAudioDiTModel"),
    *("WanTransformer3DModel", "HunyuanVideoTransformer3DModel", "CogVideoXTransformer3DModel"),
    *("LatteTransformer3DModel", "MochiTransformer3DModel", "LTXVideoTransformer3DModel timestep per token"),
    "Cosmos3OmniTransformer sound",
)
"""Cases of model classes that together run every line that any does: one of every way to list, call and mask blocks."""
CLASSES = tuple(dict.fromkeys(name.split()[0] for name in MODELS))
"""Their classes."""


def representative(cases: Iterable[Any], fast: Iterable[str]) -> list[Any]:
    """Mark all cases slow but those whose names are given.

    Args:
        cases: What a test is parametrized over; of a tuple the first part has the name.
        fast: Names of the cases that stay fast.
    """
    kept, marked = set(fast), []
    for case in cases:
        values = case if isinstance(case, tuple) else (case,)
        marked.append(pytest.param(*values, marks=() if str(values[0]) in kept else pytest.mark.slow))
    assert any(not case.marks for case in marked), f"no case has one of these names: {kept}"
    return marked
