"""Watches one uncached run of a pipeline, and takes the inner products of what its blocks added."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from padecast._errors import InvalidOption, UnsupportedModel
from padecast._intercept import Intercept, Layer
from padecast._noise import Noise
from padecast._steps import Position
from padecast.calibration.statistic import Statistic, measure, mixture
from padecast.forecasters import Reuse
from padecast.handles.attach import around
from padecast.hooks.hook import Hook
from padecast.memory.arithmetic import Rows, Streams
from padecast.memory.sketch import SIZE, sketch
from padecast.policies import Always
from padecast.session.observer import Observer
from padecast.session.session import Session
from padecast.targets.pipelines import is_bare, models_of

EXACT_BYTES = 2**28
"""Residuals of a call are kept exactly up to this many bytes, and projected above."""


class Keeper(Observer):
    """What is kept of one run: residuals per step and branch, and the outputs that the sampler was given.

    It is an observer of a session, also of one that is stepped by hand: where a step has several branches, the loop
    says what guidance made of them by ``session.guide``.

    Args:
        size: Dimensions of the projection; 0 keeps residuals exactly; ``None`` (default) decides by
            :data:`EXACT_BYTES`.
        seed: Of the projection. Default 0.
        whole: Whether a branch returns what the model does, as in a loop by hand (default). Where a part of the model
            is watched, its outputs come by :meth:`model_output`.

    Example:
        >>> from padecast import Session, policies
        >>> keeper = Keeper()
        >>> session = Session(policies.Always(), Reuse(), total=3, observers=[keeper])
        >>> for index in range(3):
        ...     _ = session.step(torch.zeros(1, 4), index=index, compute=lambda: torch.full((1, 4), index + 1.0))
        >>> keeper.statistic(samples=1).gram().tolist()
        [[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [3.0, 6.0, 9.0]]
    """

    def __init__(self, size: int | None = None, seed: int = 0, whole: bool = True) -> None:
        self._wanted, self._seed, self._whole, self.runs = size, seed, whole, 0
        self.noise: Noise | None = None
        self._clear(0)

    def _clear(self, total: int) -> None:
        self.total, self.index, self.numel, self.bytes = total, 0, 0, 0
        self.strides = [0.0] * total
        self._size: int | None = self._wanted
        self._residuals: dict[str, dict[int, Tensor]] = {}
        self._numels: dict[str, dict[int, int]] = {}  # of the residuals, before they are projected
        self._models: dict[int, list[tuple[str, Tensor]]] = {}
        self._guided: dict[int, Tensor] = {}
        self._shares: list[Tensor] = []
        self._branch = ""

    def begin(self, total: int) -> None:
        """Forget everything: a run of so many steps begins."""
        self.runs += 1
        self._clear(total)

    def hear(self, branch: str, at: Position, inputs: Streams, output: Streams, rows: Rows | None = None) -> None:
        """Keep a residual, and where it is; a run begins by itself where the schedule does again."""
        if at.total != self.total or at.index < self.index:
            self.begin(at.total)
        self.index = at.index
        self.strides[at.index] = at.weight
        self.noise = at.noise
        residuals = [(y - x).detach() for x, y in zip(inputs, output, strict=True)]
        for residual, mask in zip(residuals, rows or (), strict=False):
            if mask is not None:
                residual.masked_fill_(~mask[..., None], 0)
        self.residual(branch, torch.cat([residual.flatten(1) for residual in residuals], dim=1))
        if self._whole:
            for index in [index for index in self._models if index != at.index]:
                del self._models[index]  # nobody told what the sampler was given there
            self.model_output(output[0])

    def hear_guided(self, at: Position, output: Tensor, computed: bool) -> None:
        """Keep what the sampler was given."""
        if computed and at.index == self.index:
            self.keep_guided_output(output)

    def residual(self, branch: str, residual: Tensor) -> None:
        """Keep ``(B, n)``."""
        if self._size is None:
            exact = 4 * residual.numel() * self.total <= EXACT_BYTES
            self._size = 0 if exact else SIZE
        self.numel = residual.shape[1]
        copy = (residual.float() if self._size == 0 else sketch(residual, self._size, self._seed)).cpu()
        self._residuals.setdefault(branch, {})[self.index] = copy
        self._numels.setdefault(branch, {})[self.index] = self.numel
        self.bytes += copy.numel() * copy.element_size()
        self._branch = branch

    def model_output(self, output: Tensor) -> None:
        """Keep what the model returned for the branch at hand, until the sampler has been given its mixture."""
        self._models.setdefault(self.index, []).append((self._branch, output.detach()))

    def keep_guided_output(self, output: Tensor) -> None:
        """Keep what the sampler was given, and read the guidance off it."""
        seen, output = self._models.pop(self.index, []), output.detach()
        if len(output) % 2 == 0 and torch.equal(*output.chunk(2)):
            output = output.chunk(2)[0]  # DiTPipeline steps every sample twice
        parts = [part[:, : output.shape[1]] for _, whole in seen for part in _halves(whole, len(output))]
        if self.index in self._guided or not parts or any(part.shape != output.shape for part in parts):
            return
        self._shares.append(mixture(parts, output).cpu())
        flat = output.flatten(1)
        copy = (flat.float() if self._size == 0 else sketch(flat, self._size or SIZE, self._seed)).cpu()
        self._guided[self.index] = copy * (copy.shape[1] / flat.shape[1]) ** 0.5
        self.bytes += copy.numel() * copy.element_size()

    def statistics(self, samples: int) -> list[Statistic]:
        """Take the inner products of the run that is over, sample by sample.

        Args:
            samples: How many samples were drawn; a batch that holds a multiple of them has several branches.

        Raises:
            InvalidOption: If not every step of the schedule was seen on every branch.
        """
        seen = {branch: sorted(steps) for branch, steps in self._residuals.items()}
        if not seen or any(steps != list(range(self.total)) for steps in seen.values()):
            counts = {b: f"{len(s)} of {self.total}" for b, s in seen.items()} or f"none of {self.total or 'any'}"
            raise InvalidOption(
                f"steps of the schedule that were seen: {counts}, where a calibration needs all on every branch.\n"
                "Usual cause: image-to-image with a strength below 1, guidance that is switched off at some steps, or "
                "a model that the call does not use.\nCalibrate a call that runs the whole schedule alike."
            )
        self._check_sizes()
        branches = {
            f"{branch}{ending}": [halves[part] for halves in split]
            for branch, steps in self._residuals.items()
            for split in [[_halves(steps[i], samples) for i in range(self.total)]]
            for part, ending in enumerate(_endings(len(split[0])))
        }
        alike = len(self._shares) == self.total and all(len(s) == len(branches) for s in self._shares)
        shares = torch.stack(self._shares).median(0).values if alike else torch.zeros(len(branches))
        outputs = [self._guided[i] for i in range(self.total)] if alike else []
        size = len(next(iter(branches.values()))[0])
        return [
            measure(
                {branch: [step[place : place + 1] for step in steps] for branch, steps in branches.items()},
                [step[place : place + 1] for step in outputs],
                self.numel,
                shares,
            )
            for place in range(size)
        ]

    def _check_sizes(self) -> None:
        """Raise if the residuals of a branch have not one size, so that they have no inner products."""
        for branch, numels in self._numels.items():
            sizes = [numels[index] for index in range(self.total)]
            other = next((index for index, size in enumerate(sizes) if size != sizes[-1]), None)
            if other is not None:
                raise InvalidOption(
                    f"the residual of step {other} on {branch!r} has {sizes[other]} numbers, and that of step "
                    f"{self.total - 1} has {sizes[-1]}: they cannot be compared.\n"
                    "Usual cause: a first step that fills a cache of keys and values (Qwen-Image 2.1, FLUX.2 klein "
                    "with references). Calibrate calls without it, pipe(..., use_kv_cache=False), or take a method "
                    'without calibration: accelerate(pipe, "learned")'
                )

    def statistic(self, samples: int) -> Statistic:
        """Take the inner products of all samples together; see :meth:`statistics`."""
        first, *others = self.statistics(samples)
        return reduce(Statistic.__add__, others, first)

    @property
    def size(self) -> int:
        """Dimensions of the projection that was used; 0 if none was."""
        return 0 if not self._size or self._size >= self.numel else self._size


@contextlib.contextmanager
def watching(pipe: Any, span: str = "output", size: int | None = None, seed: int = 0) -> Iterator[Keeper]:
    """Watch the runs of a pipeline inside the block; the latest is kept.

    Args:
        pipe: A diffusers pipeline; of a described class where the span is one of blocks.
        span: What of the model is forecast, its output by default.
        size: Dimensions of a seeded random projection; 0 keeps residuals exactly; by default they are projected to
            65521 dimensions where they would take more than 256 MiB.
        seed: Of the projection.

    Raises:
        UnsupportedModel: If no stack of blocks is known in the model, or the pipeline has two.
        InvalidOption: If the pipeline has no scheduler.
    """
    models = models_of(pipe)
    if is_bare(pipe) or getattr(pipe, "scheduler", None) is None:
        raise InvalidOption(
            f"a {type(pipe).__name__} without a scheduler cannot be calibrated: plans belong to a schedule.\n"
            "Give the whole pipeline."
        )
    if len(models) > 1:
        raise UnsupportedModel(
            f"{type(pipe).__name__} has {len(models)} transformers that take turns, which cannot be calibrated yet.\n"
            'Use a method without calibration: accelerate(pipe, "adaptive")'
        )
    keeper = Keeper(size, seed, whole=False)

    def leave(_module: nn.Module, _args: Any, output: Any) -> None:
        first = output if isinstance(output, Tensor) else output[0]
        if isinstance(first, Tensor):
            keeper.model_output(first)

    def step(method: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        output = kwargs.get("model_output", args[0] if args else None)
        if isinstance(output, Tensor):
            keeper.keep_guided_output(output)
        return method(*args, **kwargs)

    def begin(total: int) -> Session:
        keeper.begin(total)
        return Session(Always(), Reuse(), total, measure=False, observers=[keeper])

    layers: list[Layer] = [
        Hook(models[0], "register_forward_hook", leave),
        Intercept(pipe.scheduler, "step", step),
    ]
    with around(pipe, span, begin, layers):
        yield keeper


def _halves(tensor: Tensor, samples: int) -> list[Tensor]:
    """Split a batch that holds every sample several times, one conditioning after the other."""
    whole = samples > 0 and len(tensor) % samples == 0
    return list(tensor.chunk(len(tensor) // samples)) if whole else [tensor]


def _endings(parts: int) -> list[str]:
    return [""] if parts == 1 else [f" part {k + 1}" for k in range(parts)]
