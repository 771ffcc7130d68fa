"""Options that commands share, and how lists are written in them."""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable, Iterable
from typing import Any

import typer

from padecast import zoo
from padecast._errors import InvalidOption
from padecast._registry import literal
from padecast.lab import _numbers
from padecast.lab.calls import Sampling, parameters
from padecast.methods.plugins import load_plugin


def numbers(written: Iterable[str], name: str) -> tuple[int, ...]:
    """Read whole numbers and ranges.

    Args:
        written: Such as ``["0-3", "7,9"]``.
        name: Of the option, for the message.

    Raises:
        InvalidOption: If something else is written, a number comes twice, or there is none.

    Example:
        >>> numbers(["0-3", "7,9"], "seed")
        (0, 1, 2, 3, 7, 9)
    """
    return _numbers.numbers(written, f"--{name}")


def names(written: str) -> tuple[str, ...]:
    """Split method names at commas, but not at those between options.

    Example:
        >>> names("adaptive,taylorseer:every=3,warmup=2,fora")
        ('adaptive', 'taylorseer:every=3,warmup=2', 'fora')
    """
    methods: list[str] = []
    for part in re.split(r",(?![^(]*\))", written):
        if methods and "=" in part and ":" not in part:
            methods[-1] += f",{part}"
        elif part.strip():
            methods.append(part.strip())
    return tuple(methods)


def with_plugins(command: Callable[..., Any]) -> Callable[..., Any]:
    """Return a command that takes ``--plugin`` besides, and runs those files before anything else."""

    @functools.wraps(command)
    def run(*, plugin: list[str], **options: Any) -> Any:
        for written in plugin:
            load_plugin(written)
        return command(**options)

    signature = inspect.signature(command)
    extra = inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=PLUGIN, annotation=list[str])
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), extra])  # type: ignore[attr-defined]
    run.__annotations__ = {**command.__annotations__, "plugin": list[str]}
    return run


def slug(written: str) -> str:
    """Write a method so that it can be part of a file name.

    Example:
        >>> slug("tc-pade:every=3,order=(2,1)")
        'tc-pade-every-3-order-2-1'
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "-", written).strip("-.")
    if len(plain) <= LONGEST:
        return plain
    return f"{plain[:LONGEST]}-{hashlib.sha256(written.encode()).hexdigest()[:8]}"


LONGEST = 100
"""Characters of a method in a file name."""
PIPELINE = typer.Argument(
    help=f"A demo model ({', '.join(zoo.NAMES)}), a folder with a pipeline, or owner/name on the hub."
)
SEEDS = typer.Option(["0-7"], "--seed", "--seeds", help="Seeds: 3, 0-7 or 0-3,8; may be given again.")
STEPS = typer.Option(20, min=1, help="Sampler steps.")
PROMPT = typer.Option([], "--prompt", help="What to draw; given again, seeds take prompts in turn.")
CLASS = typer.Option([], "--class", help="Class labels: 3 or 0-9; seeds take them in turn. Digits: all ten.")
GUIDANCE = typer.Option(None, help="Guidance scale; the pipeline's own by default.")
SHIFT = typer.Option(None, help="Shift of the schedule, for pipelines that take one (digits).")
BATCH = typer.Option(None, min=1, help="Seeds per call: 8 for digits, 1 for others by default.")
SIZE = typer.Option(None, metavar="HEIGHTxWIDTH", help="Pixels, such as 480x832; the pipeline's own by default.")
FRAMES = typer.Option(None, min=1, help="Frames of a clip; the pipeline's own by default.")
NEGATIVE = typer.Option(None, "--negative-prompt", help="What not to draw, for pipelines that take it.")
PLUGIN = typer.Option(
    [],
    "--plugin",
    metavar="FILE",
    help="A Python file or module of yours that registers forecasters, policies or methods; repeatable.",
)
SET = typer.Option(
    [], "--set", metavar="NAME=VALUE", help="Any other argument of the pipeline, such as true_cfg_scale=4; repeatable."
)
OFFLOAD = typer.Option(
    "none", help="none, model or group: keep weights in host memory, and on the GPU only what runs. Slower, and small."
)
CALIBRATION = typer.Option(
    None, help="A calibration file, hub:ORG/NAME, or digits:hard, which ships. Say which of its plans:"
)
COMPUTED = typer.Option(None, min=1, help="Of the calibration, the plan with so many computed steps.")
SPEEDUP = typer.Option(None, help="Of the calibration, the plan that makes the denoiser so much faster.")
DECIBELS = typer.Option(None, "--decibels", "--db", help="Of the calibration, the fastest plan with this PSNR.")
DEVICE = typer.Option(None, help="cpu, cuda, cuda:1 or mps; a GPU if there is one.")
DTYPE = typer.Option(None, help="float32, float16 or bfloat16; float32 on the CPU and for digits, else bfloat16.")
OVERWRITE = typer.Option(False, "--overwrite", help="Replace files that are there already.")


def sampling(
    prompts: list[str],
    classes: list[str],
    guidance: float | None,
    shift: float | None,
    further: dict[str, Any] | None = None,
) -> Sampling:
    """Read what is to be drawn; ``further`` arguments are those of :func:`arguments`."""
    labels = numbers(classes, "class") if classes else ()
    return Sampling(tuple(prompts), labels, guidance, shift, further or {})


def arguments(size: str | None, frames: int | None, negative: str | None, settings: Iterable[str]) -> dict[str, Any]:
    """Read further arguments of a pipeline.

    Args:
        size: Such as ``"480x832"``, height first.
        frames: Of a clip.
        negative: A negative prompt.
        settings: Such as ``["true_cfg_scale=4", "max_sequence_length=256"]``.

    Raises:
        InvalidOption: If one cannot be read, is given twice, or has an option of its own.

    Example:
        >>> arguments("480x832", 33, None, ["flow_shift=3"])
        {'height': 480, 'width': 832, 'num_frames': 33, 'flow_shift': 3}
    """
    options: dict[str, Any] = {}
    if size is not None:
        options["height"], options["width"] = _pixels(size)
    if frames is not None:
        options["num_frames"] = frames
    if negative is not None:
        options["negative_prompt"] = negative
    for setting in settings:
        name, value = _setting(setting)
        if name in options:
            raise InvalidOption(f"--set {setting}: {name} is given twice.\nSay it once, here or by --size or --frames.")
        options[name] = value
    return options


def _pixels(size: str) -> tuple[int, int]:
    written = re.fullmatch(r"\s*([1-9]\d{0,4})\s*[x×X]\s*([1-9]\d{0,4})\s*", size)
    if written is None:
        raise InvalidOption(f"--size {size!r} cannot be read.\nWrite height and width in pixels: --size 480x832")
    return int(written[1]), int(written[2])


def _setting(written: str) -> tuple[str, Any]:
    name, equals, value = written.partition("=")
    name = name.strip()
    if not equals or not name.isidentifier():
        raise InvalidOption(f"--set {written!r} cannot be read.\nWrite name=value: --set true_cfg_scale=4")
    if name in TAKEN:
        raise InvalidOption(f"--set {written}: {name} cannot be set so.\n{TAKEN[name]}")
    return name, literal(value.strip())


TAKEN = {
    "prompt": 'Say it: --prompt "a red fox"',
    "class_labels": "Say them: --class 0-9",
    "num_inference_steps": "Say it: --steps 20",
    "guidance_scale": "Say it: --guidance 5",
    "shift": "Say it: --shift 3",
    "generator": "Say seeds: --seeds 0-7",
    "output_type": "Images are always asked for as tensors.",
    "callback_on_step_end": "It is how progress is shown.",
    "return_dict": "The images are found by name.",
}
"""Arguments of pipelines that commands set themselves, and how to say them."""


def batch_of(pipe: Any, batch: int | None) -> int:
    """Seeds per call: a demo model draws many at once, a large one is asked for one."""
    return batch or (8 if "class_labels" in parameters(pipe) and "shift" in parameters(pipe) else 1)
