"""The arguments of the demo pipeline, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

CLASSES = 10
OUTPUT_TYPES = ("pt", "np", "pil")


def read_labels(class_labels: Sequence[int] | Tensor | int) -> list[int]:
    """Labels as a list of integers in 0..9, or a ValueError."""
    labels = torch.as_tensor(class_labels).reshape(-1)
    if len(labels) == 0:
        raise ValueError(
            "class_labels is empty, so there is nothing to draw.\n"
            "Usually a filter left nothing. Give one digit per image:   class_labels=[3, 7]"
        )
    wrong = [label for label in labels.tolist() if label not in range(CLASSES)]
    if wrong:
        raise ValueError(
            f"class_labels contains {wrong[0]}, but the model draws the digits 0 to 9.\n"
            "Guidance adds the empty label (10) itself. Give one digit per image:   class_labels=[3, 7]"
        )
    return [int(label) for label in labels.tolist()]


def check_numbers(steps: int, shift: float) -> None:
    """Raise a ValueError unless the schedule is possible."""
    if steps < 1:
        raise ValueError(
            f"num_inference_steps is {steps}, but sampling takes at least one step.\n"
            "Usually a budget was rounded down to zero. Try:   num_inference_steps=20"
        )
    if not shift > 0:
        raise ValueError(
            f"shift is {shift}, but it multiplies noise levels and must be positive.\n"
            "Usually a logarithm (mu) was given instead. For no shift:   shift=1.0"
        )


def check_choices(output_type: str, wanted: Sequence[str], known: Sequence[str]) -> None:
    """Raise a ValueError unless the output type and the callback's tensors exist."""
    if output_type not in OUTPUT_TYPES:
        types = ", ".join(map(repr, OUTPUT_TYPES))
        raise ValueError(
            f"output_type is {output_type!r}, but this pipeline returns {types}.\n"
            'It has no latent space apart from its pixels. For a tensor:   output_type="pt"'
        )
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ValueError(
            f"callback_on_step_end_tensor_inputs names {unknown[0]!r}, but only {list(known)} exist.\n"
            "Usually it was copied from a text pipeline. Try:\n"
            '    callback_on_step_end_tensor_inputs=["latents"]'
        )


def check_generators(generator: Any, count: int) -> None:
    """Raise a ValueError unless a list of generators has one per sample."""
    if isinstance(generator, list) and len(generator) != count:
        raise ValueError(
            f"{len(generator)} generators were given for {count} class_labels.\n"
            "A list needs one per digit; a single generator serves any number. Try:\n"
            f"    generator=[torch.Generator().manual_seed(seed) for seed in range({count})]"
        )
