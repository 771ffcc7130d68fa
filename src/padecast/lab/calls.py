"""How a pipeline is called for a list of seeds, so that every method draws the same samples."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from padecast._errors import InvalidOption


class Call(Protocol):
    """What the lab asks of a caller: one image per seed, the same whenever the seed is.

    The lab adds ``num_inference_steps`` and, where the pipeline knows it, ``callback_on_step_end``: hand both to the
    pipeline. For example::

        def call(pipe, seeds, **arguments):
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            return pipe(["a red fox"] * len(seeds), generator=generators, output_type="pt", **arguments).images
    """

    def __call__(self, pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Tensor:
        """Return images ``(B, C, H, W)`` or clips ``(B, frames, C, H, W)`` in [0, 1], one per seed."""
        ...


@dataclass(frozen=True)
class Sampling:
    """The usual :class:`Call`: a pipeline with prompts or classes, a guidance scale and seeds.

    Sample k, counted by its seed, takes prompt or class ``seed mod number of them``, so that a seed means the same in
    every batch. Noise is drawn on the host, so that it also means the same on every device.

    Args:
        prompts: For pipelines with a ``prompt``.
        classes: For pipelines with ``class_labels``; the ten digits by default.
        guidance: Guidance scale; the pipeline's own default if ``None``.
        shift: Shift of the schedule, for pipelines that take one (the demo digits).
        arguments: Further arguments of the pipeline, such as ``{"height": 512}``.

    Raises:
        InvalidOption: In a call, if the pipeline does not take what is given.

    Example:
        >>> from padecast import zoo
        >>> from padecast.hooks.quiet import quiet
        >>> pipe = zoo.load("digits")
        >>> with quiet(pipe):
        ...     Sampling(guidance=5.0, shift=3.0)(pipe, [3, 4], num_inference_steps=2).shape
        torch.Size([2, 1, 16, 16])
    """

    prompts: tuple[str, ...] = ()
    classes: tuple[int, ...] = ()
    guidance: float | None = None
    shift: float | None = None
    arguments: dict[str, Any] = field(default_factory=dict)

    def __call__(self, pipe: Any, seeds: Sequence[int], /, **arguments: Any) -> Tensor:
        """Draw one image per seed."""
        output = pipe(
            **self.conditions(pipe, seeds),
            generator=[torch.Generator().manual_seed(seed) for seed in seeds],
            output_type="pt",
            **self.arguments,
            **arguments,
        )
        return images_of(output)

    def conditions(self, pipe: Any, seeds: Sequence[int]) -> dict[str, Any]:
        """Return what the pipeline is asked for, by the names of its arguments."""
        takes = parameters(pipe)
        self._check(pipe, takes)
        arguments: dict[str, Any] = {"guidance_scale": self.guidance, "shift": self.shift}
        if "class_labels" in takes:
            classes = self.classes or tuple(range(10))
            arguments["class_labels"] = [classes[seed % len(classes)] for seed in seeds]
        if "prompt" in takes:
            arguments["prompt"] = [self.prompts[seed % len(self.prompts)] for seed in seeds]
        return {name: value for name, value in arguments.items() if value is not None}

    def asked(self, pipe: Any, seeds: Sequence[int]) -> list[Any]:
        """Return the prompt or the class that every seed asks for; the seed itself of a pipeline without either.

        Example:
            >>> from padecast import zoo
            >>> Sampling().asked(zoo.load("digits"), [13, 4])
            [3, 4]
        """
        conditions = self.conditions(pipe, seeds)
        requests: list[Any] = conditions.get("prompt") or conditions.get("class_labels") or list(seeds)
        return requests

    def _check(self, pipe: Any, takes: frozenset[str]) -> None:
        arguments = {
            "prompt": self.prompts or None,
            "class_labels": self.classes or None,
            "guidance_scale": self.guidance,
            "shift": self.shift,
            **self.arguments,
        }
        name = type(pipe).__name__
        for argument, value in arguments.items():
            if value is not None and argument not in takes:
                raise InvalidOption(
                    f"{name} takes no {argument}, and {value!r} was given for it.\n"
                    f"It takes: {', '.join(sorted(takes & {*arguments, 'num_inference_steps'}))}"
                )
        if "prompt" in takes and not self.prompts:
            raise InvalidOption(
                f"{name} draws from a prompt, and none was given.\n"
                'Give one: prompts=("a red fox",), on the command line --prompt "a red fox"'
            )


def parameters(pipe: Any) -> frozenset[str]:
    """Names of the arguments of a pipeline's call."""
    return frozenset(inspect.signature(pipe.__call__).parameters)


def images_of(output: Any) -> Tensor:
    """Take the images or frames out of a pipeline's output.

    Returns:
        ``(B, C, H, W)`` or ``(B, frames, C, H, W)``, floating point.
    """
    images = getattr(output, "images", None)
    images = output.frames if images is None else images
    if isinstance(images, Tensor):
        return images
    return torch.as_tensor(images).movedim(-1, -3)
