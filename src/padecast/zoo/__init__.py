"""Demo models that come with padecast, small enough for a laptop CPU.

For example::

    pipe = padecast.zoo.load("digits")
    pipe(class_labels=[3, 7], generator=torch.manual_seed(0)).images[0]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import torch

from padecast import files
from padecast._errors import PadecastError, UnknownName, missing, unknown
from padecast.calibration import Calibration
from padecast.zoo.worlds import WORLDS, enter

if TYPE_CHECKING:
    from padecast.zoo.digits import DigitsPipeline

__all__ = ["calibration", "load"]

WEIGHTS = Path(__file__).parent / "weights"
CALIBRATIONS = Path(__file__).parent / "calibrations"
_SETTINGS: dict[str, dict[str, str]] = {  # and the budgets of their calibrations
    "digits": {"matched": "6,8,10", "hard": "5 to 14", "easy": "5 to 14"},
    "scenes": {"as-flux": "6,8,10", "20": "6,8,10", "50": "10,14"},
    "motion": {"as-wan": "6,8,10", "20": "6,8,10"},
}


@overload
def load(name: Literal["digits"], *, dtype: torch.dtype = ..., device: str | torch.device = ...) -> DigitsPipeline: ...
@overload
def load(name: str, *, dtype: torch.dtype = ..., device: str | torch.device = ...) -> Any: ...
def load(name: str, *, dtype: torch.dtype = torch.float32, device: str | torch.device = "cpu") -> Any:
    """Load a demo pipeline from the weights inside the package; nothing is downloaded.

    Args:
        name: "digits": class-conditional handwritten digits of 16 x 16 pixels. "scenes": a ``FluxPipeline`` that draws
            captions such as "a large red circle left of a small blue square" in 64 x 64 pixels. "motion": a
            ``WanPipeline`` that draws captions such as "a large red star moving left" as 17 frames of 64 x 64 pixels.
            With ":matched" behind it, as in "scenes:matched", its schedule and guidance are such that it behaves as
            real models do; with ":as-flux" (digits, scenes) or ":as-wan" (motion) its latents and noise levels are
            those of that model besides, and its images those of a matched setting.
        dtype: of the weights, default float32; they are stored in float16.
        device: default the CPU.

    Returns:
        The pipeline, ready to call.

    Raises:
        UnknownName: there is no demo model of that name, and the message names the nearest.
        MissingPackage: diffusers, or what its text encoders need, is not installed; the message has the command.
        DamagedFile: its files cannot be loaded: install padecast anew.

    Example:
        >>> load("digits").transformer.dtype
        torch.float32
    """
    _check(name, (*NAMES, *WORLDS))
    model = name.partition(":")[0]
    try:
        pipe = _LOADERS[model](WEIGHTS / model)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("diffusers", "transformers", "tokenizers"):
            raise
        raise missing("diffusers", "padecast[diffusers]", "loading a demo model") from error
    except PadecastError:
        raise
    except Exception as error:  # whatever a damaged file leads its library to
        fact = f"its pipeline cannot be loaded: {type(error).__name__}: {files.line(error)}"
        raise files.damaged(WEIGHTS / model, fact) from error
    pipe = enter(pipe, WORLDS[name]) if name in WORLDS else pipe
    for part in pipe.components.values():
        if isinstance(part, torch.nn.Module):
            torch.nn.Module.to(part, device, dtype)  # diffusers' own ``to`` warns, and renamed torch_dtype
    return pipe


def _digits(folder: Path) -> DigitsPipeline:
    from diffusers import DiTTransformer2DModel, FlowMatchEulerDiscreteScheduler

    from padecast.zoo.digits import DigitsPipeline

    # Component by component, because the pipeline's own from_pretrained draws a progress bar.
    transformer = DiTTransformer2DModel.from_pretrained(
        folder / "transformer", low_cpu_mem_usage=False, use_safetensors=True
    )
    return DigitsPipeline(transformer, FlowMatchEulerDiscreteScheduler.from_pretrained(folder / "scheduler"))


def _scenes(folder: Path) -> Any:
    with _hushed():
        from padecast.zoo.scenes.pipeline import load

        return load(folder)


def _motion(folder: Path) -> Any:
    with _hushed():
        from padecast.zoo.motion.pipeline import load

        return load(folder)


@contextmanager
def _hushed() -> Iterator[None]:
    """Keep transformers from saying which image processors it would rather load; no demo model has one."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)


_LOADERS = {"digits": _digits, "scenes": _scenes, "motion": _motion}
NAMES = tuple(_LOADERS)


def _check(name: str, known: Iterable[str]) -> None:
    """Raise an UnknownName unless there is a demo model of that name."""
    if not isinstance(name, str) or name not in known:
        raise unknown("demo model", name, known)


def calibration(name: str, setting: str) -> Calibration:
    """Return a calibration that ships with a demo pipeline.

    Args:
        name: "digits", "scenes" or "motion".
        setting: "matched" of digits, "as-flux" of scenes and "as-wan" of motion, the worlds that are like real models
            (:mod:`padecast.zoo.worlds`): budgets 6, 8 and 10 of 20 steps. At usual settings of digits "hard", guidance
            5 and shift 3, or "easy", guidance 3 and shift 1: budgets 5 to 14 of 20 steps; of scenes, at guidance 3.5,
            the steps: "20", budgets 6, 8 and 10, or "50", budgets 10 and 14; of motion "20", at guidance 3: budgets 6,
            8 and 10.

    Returns:
        The calibration, for ``padecast.accelerate(pipe, calibration, computed=8)``.

    Raises:
        UnknownName: there is no demo model or no setting of that name, and the message names the nearest; or this
            calibration does not ship yet, and the message says how to make it.

    Example:
        >>> calibration("digits", "easy").budgets
        (5, 6, 7, 8, 9, 10, 11, 12, 13, 14)
    """
    _check(name, NAMES)
    settings = _SETTINGS[name]
    if setting not in settings:
        raise unknown(f"setting of {name}", setting, settings)
    path = CALIBRATIONS / f"{name}-{setting}.json"
    if not path.is_file():
        raise UnknownName(
            f"the calibration of {name!r} for {setting!r} does not ship with padecast yet.\n"
            "Make it, and keep it as a file of your own:\n"
            f"    {_command(name, setting)}\n"
            f'    padecast.Calibration.load("{name}-{setting}.json")'
        )
    return Calibration.load(path)


def _command(name: str, setting: str) -> str:
    """Return how a calibration is made; one of a world by a command that is there without a checkout."""
    budgets = _SETTINGS[name][setting]
    if f"{name}:{setting}" in WORLDS:
        return f"padecast calibrate {name}:{setting} --budgets {budgets} --effort normal --out {name}-{setting}.json"
    return f"python -m benchmarks.calibration.ship --model {name} --setting {setting} --budgets {budgets} --out ."
