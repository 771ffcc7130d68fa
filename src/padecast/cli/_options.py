"""Options that commands share, and how lists are written in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Any

import typer

from padecast.lab import _numbers
from padecast.lab.calls import Sampling, parameters


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
    found: list[str] = []
    for part in re.split(r",(?![^(]*\))", written):
        if found and "=" in part and ":" not in part:
            found[-1] += f",{part}"
        elif part.strip():
            found.append(part.strip())
    return tuple(found)


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
PIPELINE = typer.Argument(help="A demo model (digits), a folder with a pipeline, or owner/name on the hub.")
SEEDS = typer.Option(["0-7"], "--seed", "--seeds", help="Seeds: 3, 0-7 or 0-3,8; may be given again.")
STEPS = typer.Option(20, min=1, help="Sampler steps.")
PROMPT = typer.Option([], "--prompt", help="What to draw; given again, seeds take prompts in turn.")
CLASS = typer.Option([], "--class", help="Class labels: 3 or 0-9; seeds take them in turn. Digits: all ten.")
GUIDANCE = typer.Option(None, help="Guidance scale; the pipeline's own by default.")
SHIFT = typer.Option(None, help="Shift of the schedule, for pipelines that take one (digits).")
BATCH = typer.Option(None, min=1, help="Seeds per call: 8 for digits, 1 for others by default.")
DEVICE = typer.Option(None, help="cpu, cuda, cuda:1 or mps; a GPU if there is one.")
DTYPE = typer.Option(None, help="float32, float16 or bfloat16; float32 on the CPU and for digits, else bfloat16.")
OVERWRITE = typer.Option(False, "--overwrite", help="Replace files that are there already.")


def sampling(prompts: list[str], classes: list[str], guidance: float | None, shift: float | None) -> Sampling:
    """Read what is to be drawn."""
    labels = numbers(classes, "class") if classes else ()
    return Sampling(prompts=tuple(prompts), classes=labels, guidance=guidance, shift=shift)


def batch_of(pipe: Any, wanted: int | None) -> int:
    """Seeds per call: a demo model draws many at once, a large one is asked for one."""
    return wanted or (8 if "class_labels" in parameters(pipe) and "shift" in parameters(pipe) else 1)
