"""What is sampled, by which methods, and one call of it."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor

from padecast._errors import InvalidOption, PadecastWarning, check
from padecast.calibration.provenance import device_name, place_of
from padecast.handles.accelerate import accelerate
from padecast.hooks.quiet import quiet
from padecast.lab import peers, solvers
from padecast.lab.calls import Call, parameters
from padecast.lab.peers import Peer
from padecast.lab.scores import Score
from padecast.lab.solvers import FEWER, is_fewer
from padecast.lab.timing import time_call
from padecast.lessons import Library
from padecast.methods import Method, method

Made = TypeVar("Made")


@dataclass(frozen=True)
class Task:
    """What is sampled.

    Args:
        pipe: A diffusers pipeline.
        call: Draws images for seeds with it.
        steps: Sampler steps, at least 1. Default 20.
        seeds: Which samples. Default 0 to 15.
        batch: Seeds per call, at least 1. Default 8. Decisions that read the features are shared within a call.
        name: For tables and pictures.
        development: Seeds that methods are tuned on, none of ``seeds``. By default a batch of them from 10000.
        scores: What else images are judged by, by name; see :mod:`padecast.lab.scores`.
        memory: Keeps what need not be drawn twice, such as computed steps of settings tried before; share it among
            tasks that differ in their seeds alone. Nothing is kept by default.

    Raises:
        InvalidOption: If there are no seeds, the same seed twice, one to tune on and to measure, or a number below 1.
    """

    pipe: Any
    call: Call
    steps: int = 20
    seeds: Sequence[int] = tuple(range(16))
    batch: int = 8
    name: str = ""
    development: Sequence[int] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    memory: dict[Hashable, Any] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        check(self.steps >= 1, "steps", self.steps, "1 or more")
        check(self.batch >= 1, "batch", self.batch, "1 or more")
        check(0 < len(set(self.seeds)) == len(self.seeds), "seeds", list(self.seeds), "one seed or more, each once")
        shared = sorted(set(self.development) & set(self.seeds))
        if shared:
            raise InvalidOption(
                f"seeds {', '.join(map(str, shared))} are both measured and tuned on.\n"
                "A method tuned on the seeds it is measured on looks better than it is: tune it on others."
            )

    def tuning(self) -> Task:
        """Return the same task on the seeds that methods are tuned on."""
        taken = max((*self.seeds, 9_999)) + 1
        return dataclasses.replace(
            self, seeds=tuple(self.development) or tuple(range(taken, taken + self.batch)), development=()
        )

    def batches(self) -> list[tuple[int, ...]]:
        """Return the seeds call by call; only the last call may be smaller."""
        seeds = tuple(self.seeds)
        return [seeds[start : start + self.batch] for start in range(0, len(seeds), self.batch)]

    def asked(self, seeds: Sequence[int]) -> list[Any]:
        """Return what every seed asks for, as the call says; the seeds where it does not."""
        of = getattr(self.call, "asked", None)
        return list(seeds) if of is None else list(of(self.pipe, seeds))

    def once(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Return what was made under this key before, or make it.

        Example:
            >>> task = Task(None, print, memory={})
            >>> task.once("a", lambda: 1), task.once("a", lambda: 2)
            (1, 1)
        """
        if self.memory is None:
            return make()
        if key not in self.memory:
            self.memory[key] = make()
        value: Made = self.memory[key]
        return value

    def settings(self) -> dict[str, Any]:
        """Return what was sampled, as plain data; the seeds that methods may have been tuned on too."""
        model = getattr(self.pipe, "transformer", self.pipe)
        return {
            "name": self.name,
            "pipeline": type(self.pipe).__name__,
            "model": type(model).__name__,
            "scheduler": type(getattr(self.pipe, "scheduler", None)).__name__,
            "sampling": _describe(self.call),
            "steps": self.steps,
            "seeds": list(self.seeds),
            "development": list(self.tuning().seeds),
            "batch": self.batch,
            "dtype": str(getattr(model, "dtype", "")).removeprefix("torch."),
            "device": device_name(place_of(self.pipe)),
        }


@dataclass(frozen=True)
class Entry:
    """One way to sample a task.

    Args:
        name: For tables.
        method: A method, or a cache of another library; without one nothing is attached.
        steps: Sampler steps other than the task's.
        written: The method with its tuned option, for repeating it.
        wanted: Computed steps that it is meant to have.
        refusal: Why it cannot sample this task, if it cannot.
        lessons: Where a method that learns has its lessons; those of the user by default.
        teaching: How many images were drawn to teach it.
        solver: Another solver in place of the pipeline's, by its name; see :mod:`padecast.lab.solvers`.
    """

    name: str
    method: Method | Peer | None = None
    steps: int | None = None
    written: str = ""
    wanted: float | None = None
    refusal: str = ""
    lessons: Library | None = None
    teaching: int = 0
    solver: str = ""

    @classmethod
    def of(cls, chosen: str | Method, wanted: float | None = None) -> Entry:
        """Enter a registered method or peer, such as ``"tc-pade:every=3"``, or a method that was put together.

        ``"fewer-steps:solver=dpmpp"`` is the pipeline with another solver, at as many steps as evaluate it ``wanted``
        times at most, and ``"fewer-steps:solver=heun,steps=4"`` at that many; see :mod:`padecast.lab.solvers`.

        Raises:
            UnknownName: If neither a method nor a peer has that name.
            InvalidOption: If an option cannot be read or is out of range.

        Example:
            >>> Entry.of("diffusers.first-block:threshold=0.2").method
            FirstBlock(threshold=0.2)
        """
        if isinstance(chosen, Method):
            return cls(chosen.name, chosen, written=chosen.name, wanted=wanted)
        if is_fewer(chosen):
            solver, steps = solvers.entry_of(chosen, wanted)
            written = solvers.write(solver, steps)
            return cls(chosen.strip(), steps=steps, written=written, wanted=wanted, solver=solver)
        entrant = peers.REGISTRY.make(chosen) if peers.is_foreign(chosen) else method(chosen)
        return cls(chosen, entrant, written=chosen, wanted=wanted)

    @classmethod
    def fewer(cls, steps: int, wanted: float | None = None) -> Entry:
        """Enter the same sampler with so many steps, nothing forecast: the baseline of every table."""
        return cls(FEWER, steps=steps, written=f"{steps} steps", wanted=wanted)


UNCACHED = Entry("uncached", written="uncached")


@dataclass(frozen=True)
class Drawn:
    """What one call gave: images, latents after every step, what was computed, times in seconds, and the denoiser's
    operations where they were counted."""

    images: Tensor
    path: tuple[Tensor, ...]
    nfe: float
    plan: str
    seconds: float
    denoiser_seconds: float
    history_bytes: int = 0
    peak_bytes: int | None = None
    operations: int = 0

    @property
    def samples(self) -> int:
        """How many seeds were drawn."""
        return len(self.images)


def draw(task: Task, entry: Entry, seeds: Sequence[int]) -> Drawn:
    """Call the pipeline once, under a method or as it is.

    Args:
        task: What to sample; its own seeds are not read.
        entry: How.
        seeds: One sample each.

    Raises:
        InvalidOption: If the call did not return one image per seed.
        UnsupportedModel: If a peer or a solver cannot be put on the pipeline, or stops.
    """
    path: list[Tensor] = []
    arguments: dict[str, Any] = {"num_inference_steps": entry.steps or task.steps}
    if "callback_on_step_end" in parameters(task.pipe):
        arguments["callback_on_step_end"] = _recorder(path)
    on_cuda = torch.cuda.is_available()
    if on_cuda:
        torch.cuda.reset_peak_memory_stats()
    with _hush(), quiet(task.pipe), _attach(task.pipe, entry, arguments) as run:
        with time_call(task.pipe) as watch:
            images = task.call(task.pipe, seeds, **arguments)
        _check(images, seeds)
        ran = _ran(task.pipe, entry, run, watch.calls)
    return Drawn(
        images=images.detach().float().cpu(),
        path=tuple(path),
        seconds=watch.seconds,
        denoiser_seconds=watch.denoiser_seconds,
        peak_bytes=torch.cuda.max_memory_allocated() if on_cuda else None,
        **ran,
    )


def _attach(pipe: Any, entry: Entry, arguments: dict[str, Any]) -> AbstractContextManager[Any]:
    """Switch an entry's method or peer on inside the block, if it has one."""
    if entry.method is None:
        return solvers.swapped(pipe, entry.solver)
    if isinstance(entry.method, Peer):
        return peers.switch_on(pipe, entry.method, arguments["num_inference_steps"])
    return accelerate(pipe, entry.method, measure=False, lessons=True if entry.lessons is None else entry.lessons)


def _ran(pipe: Any, entry: Entry, run: Any, calls: int) -> dict[str, Any]:
    """Return what the run in progress, which is complete, computed."""
    steps = _evaluations(pipe, calls)
    if entry.method is None:
        return {"nfe": steps, "plan": "C" * steps}
    if isinstance(entry.method, Peer):
        peers.check_branches(entry.method, pipe, run, steps)
        return {"nfe": run.nfe(steps), "plan": run.plan(steps)}
    return {"nfe": run.report.computed, "plan": run.report.plan, "history_bytes": run.report.history_bytes}


def _recorder(path: list[Tensor]) -> Callable[..., dict[str, Any]]:
    def record(_pipe: Any, _index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        latents = tensors.get("latents")
        if latents is not None:
            path.append(latents.detach().clone())
        return {}

    return record


@contextmanager
def _hush() -> Iterator[None]:
    """Keep quiet about runs in which nothing was forecast: the table says it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PadecastWarning)
        yield


def _evaluations(pipe: Any, calls: int) -> int:
    """Steps of the denoiser in the latest run: the scheduler's grid, as far as the calls reach."""
    grid = getattr(getattr(pipe, "scheduler", None), "timesteps", None)
    return min(len(grid), calls) if grid is not None else calls


def _check(images: Any, seeds: Sequence[int]) -> None:
    if not isinstance(images, Tensor) or len(images) != len(seeds):
        text = f"a tensor of shape {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise InvalidOption(
            f"the call returned {text} for {len(seeds)} seeds, where one image per seed was expected.\n"
            'Usual cause: output_type="pil". Ask the pipeline for output_type="pt" and return its images.'
        )


def _describe(call: Call) -> Any:
    if dataclasses.is_dataclass(call) and not isinstance(call, type):
        return dataclasses.asdict(call)
    return getattr(call, "__name__", type(call).__name__)
