"""What a task's own reader makes of its images, where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from padecast.lab.calls import Sampling
from padecast.lab.runner import Score


def scores_of(pipe: Any, sampling: Sampling) -> dict[str, Score]:
    """Return what can be measured of images without a reference: of the demo digits, whether they are read as asked.

    Args:
        pipe: The pipeline.
        sampling: Says which class every seed asks for.
    """
    if type(pipe).__name__ != "DigitsPipeline":
        return {}

    @torch.no_grad()
    def read(images: Tensor, seeds: Sequence[int]) -> Tensor:
        from padecast.zoo.classifier import load_classifier

        asked = torch.tensor(sampling.conditions(pipe, seeds)["class_labels"])
        found: Tensor = (load_classifier()(images.float()).argmax(1) == asked).double()
        return found

    return {"digit read": read}
