"""Demo models that come with padecast, small enough for a laptop CPU.

For example::

    pipe = padecast.zoo.load("digits")
    pipe(class_labels=[3, 7], generator=torch.manual_seed(0)).images[0]
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from .._errors import missing, unknown
from ..calibration import Calibration

if TYPE_CHECKING:
    from .digits import DigitsPipeline

__all__ = ["calibration", "load"]

_WEIGHTS = Path(__file__).parent / "weights"
_CALIBRATIONS = Path(__file__).parent / "calibrations"
_NAMES = ("digits",)
_SETTINGS = ("hard", "easy")


def load(name: str, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> DigitsPipeline:
    """Load a demo pipeline from the weights inside the package; nothing is downloaded.

    Args:
        name: "digits": class-conditional handwritten digits of 16 x 16 pixels.
        dtype: of the weights, default float32; they are stored in float16.
        device: default the CPU.

    Returns:
        The pipeline, ready to call.

    Raises:
        UnknownName: there is no demo model of that name; the message names the nearest.
        MissingPackage: diffusers is not installed; the message has the command.

    Example:
        >>> load("digits").transformer.dtype
        torch.float32
    """
    if name not in _NAMES:
        raise unknown("demo model", name, _NAMES)
    try:
        from diffusers import DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler

        from .digits import DigitsPipeline
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "diffusers":
            raise
        raise missing("diffusers", "diffusers", "loading a demo model") from error
    folder = _WEIGHTS / name
    # Component by component, because the pipeline's own from_pretrained draws a progress bar.
    transformer = DiTTransformer2DModel.from_pretrained(folder / "transformer", low_cpu_mem_usage=False)
    torch.nn.Module.to(transformer, device, dtype)  # diffusers' own `to` warns, and renamed torch_dtype
    scheduler = FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler")
    return DigitsPipeline(transformer, scheduler)


def calibration(name: str, setting: str) -> Calibration:
    """Return a calibration that ships with a demo pipeline: budgets 5 to 14 of 20 steps.

    Args:
        name: "digits".
        setting: "hard", guidance 5 and shift 3, or "easy", guidance 3 and shift 1.

    Returns:
        The calibration, for `padecast.accelerate(pipe, calibration, computed=8)`.

    Raises:
        UnknownName: there is no demo model or no setting of that name; the message names the nearest.

    Example:
        >>> calibration("digits", "easy").budgets
        (5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
    """
    if name not in _NAMES:
        raise unknown("demo model", name, _NAMES)
    if setting not in _SETTINGS:
        raise unknown(f"setting of {name}", setting, _SETTINGS)
    return Calibration.load(_CALIBRATIONS / f"{name}-{setting}.json")
