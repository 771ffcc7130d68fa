"""Better solvers on fewer steps, ``fewer-steps:solver=dpmpp``: the rival that every user has already."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from padecast._errors import InvalidOption, UnsupportedModel, check, unknown
from padecast._noise import is_flow
from padecast._registry import parse

FEWER = "fewer-steps"
"""The name of the row of the pipeline's own solver."""


def is_fewer(written: str) -> bool:
    """Return whether a row forecasts nothing, and takes fewer steps, of the pipeline's own solver or of another.

    Example:
        >>> is_fewer("fewer-steps"), is_fewer("fewer-steps:solver=heun"), is_fewer("fora")
        (True, True, False)
    """
    return written.partition(":")[0].strip() == FEWER


@dataclass(frozen=True)
class Solver:
    """A solver of diffusers for flow matching.

    Args:
        kind: Its class.
        options: What it is made with besides the number of training steps.
        twice: Whether it evaluates the model twice a step, but for the last: n steps are 2 n - 1 evaluations.
        highest: The highest noise level that it stands at. At 1, noise alone, logarithmic signal-to-noise ratios are
            infinite; DEIS divides by the signal there, which in float32 is rounding if it is much less.
        lowest: Its last noise level.
        reference: Where it is published.

    Example:
        >>> SOLVERS["heun"].steps(7), SOLVERS["heun"].steps(8), SOLVERS["dpmpp"].steps(8)
        (4, 4, 8)
    """

    kind: str
    options: dict[str, Any] = field(default_factory=dict)
    twice: bool = False
    highest: float = 1.0
    lowest: float = 0.0
    reference: str = ""

    def steps(self, evaluations: int) -> int:
        """Return the most steps that evaluate the model no more often than so."""
        return max(1, (evaluations + 1) // 2) if self.twice else evaluations


FLOW = {"prediction_type": "flow_prediction"}
SOLVERS = {
    "euler": Solver("FlowMatchEulerDiscreteScheduler", reference="Euler's rule, as FLUX and its like are sampled"),
    "heun": Solver("FlowMatchHeunDiscreteScheduler", twice=True, reference="Karras et al., arXiv:2206.00364"),
    "dpmpp": Solver(
        "DPMSolverMultistepScheduler", FLOW, highest=1 - 1e-6, reference="DPM-Solver++ 2M, Lu et al., arXiv:2211.01095"
    ),
    "unipc": Solver("UniPCMultistepScheduler", FLOW, highest=1 - 1e-6, reference="Zhao et al., arXiv:2302.04867"),
    "deis": Solver(
        "DEISMultistepScheduler", FLOW, highest=0.999, lowest=1e-6, reference="Zhang and Chen, arXiv:2204.13902"
    ),
}
"""By name, each of second order but Euler's, with diffusers' defaults."""


def read(written: str) -> tuple[str, int | None]:
    """Return solver and steps of ``fewer-steps:solver=heun,steps=4``; no solver is the pipeline's own.

    Raises:
        UnknownName: If there is no such option, or no such solver; the message names the nearest.
        InvalidOption: If the steps are no number of 1 or more.

    Example:
        >>> read("fewer-steps:solver=dpmpp"), read("fewer-steps:steps=8")
        (('dpmpp', None), ('', 8))
        >>> read("fewer-steps:solver=dpmp")
        Traceback (most recent call last):
            ...
        padecast._errors.UnknownName: unknown solver 'dpmp'; the nearest is 'dpmpp'.
        Known: deis, dpmpp, euler, heun, unipc
    """
    _, options = parse(written)
    for option in options:
        if option not in ("solver", "steps"):
            raise unknown("option of fewer-steps", option, ("solver", "steps"))
    solver, steps = options.get("solver", ""), options.get("steps")
    if solver and solver not in SOLVERS:
        raise unknown("solver", solver, SOLVERS)
    check(steps is None or (steps.isdecimal() and int(steps) >= 1), "steps", steps, "1 or more")
    return solver, None if steps is None else int(steps)


def write(solver: str, steps: int | None) -> str:
    """Write a row, for repeating it.

    Example:
        >>> write("heun", 4), write("", 8)
        ('fewer-steps:solver=heun,steps=4', 'fewer-steps:steps=8')
    """
    options = {"solver": solver, "steps": "" if steps is None else str(steps)}
    written = ",".join(f"{option}={value}" for option, value in options.items() if value)
    return f"{FEWER}:{written}" if written else FEWER


@contextmanager
def swapped(pipe: Any, name: str) -> Iterator[None]:
    """Give a pipeline another solver at its own noise levels inside the block.

    Only the arithmetic changes: the levels are those at which the pipeline's own scheduler would stand, and the model
    is told them unrounded.

    Args:
        pipe: A diffusers pipeline.
        name: A key of :data:`SOLVERS`; ``""`` leaves the pipeline as it is.

    Raises:
        UnsupportedModel: If the pipeline is not one of flow matching.
    """
    if not name:
        yield
        return
    before = getattr(pipe, "scheduler", None)
    if before is None or not is_flow(before):
        raise UnsupportedModel(
            f"{type(before).__name__} is no scheduler of flow matching, whose noise levels solver={name} is given.\n"
            "Compare with the pipeline's own solver: fewer-steps"
        )
    pipe.scheduler = follow(before, name)
    try:
        yield
    finally:
        pipe.scheduler = before


def follow(base: Any, name: str) -> Any:
    """Return a solver of diffusers that stands at the noise levels of another scheduler.

    Args:
        base: The scheduler whose levels are followed; it is copied.
        name: A key of :data:`SOLVERS`.

    Example:
        >>> from diffusers import FlowMatchEulerDiscreteScheduler
        >>> solver = follow(FlowMatchEulerDiscreteScheduler(shift=3.0), "heun")
        >>> solver.set_timesteps(sigmas=[1.0, 0.5])
        >>> solver.timesteps.tolist(), solver.sigmas.tolist()
        ([1000.0, 750.0, 750.0], [1.0, 0.75, 0.75, 0.0])
    """
    import diffusers

    solver = SOLVERS[name]
    kind = getattr(diffusers, solver.kind)
    is_shifted = hasattr(base, "set_shift") or hasattr(kind, "set_shift")
    bases = (_Shifting if is_shifted else _Following, kind)
    train = base.config.num_train_timesteps
    scheduler = type(kind.__name__, bases, {"__module__": __name__})(num_train_timesteps=train, **solver.options)
    scheduler.base, scheduler.solver = copy.deepcopy(base), solver
    for shift in ("shift", "flow_shift"):  # a pipeline that sets its shift in the configuration finds it there
        if shift in base.config:
            scheduler.register_to_config(**{shift: base.config[shift]})
    return scheduler


class _Following:
    """A scheduler whose noise levels are those of another."""

    base: Any
    solver: Solver
    config: Any
    num_inference_steps: int

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        sigmas: Any = None,
        mu: float | None = None,
    ) -> None:
        """Take the levels of the other scheduler, asked as this one is."""
        self._set_shift()
        wishes = {"num_inference_steps": num_inference_steps, "sigmas": sigmas, "mu": mu}
        names = {*inspect.signature(self.base.set_timesteps).parameters, "sigmas"}
        options = {key: value for key, value in wishes.items() if value is not None and key in names}
        if sigmas is not None and num_inference_steps is not None:
            del options["num_inference_steps"]
        self.base.set_timesteps(**options)
        levels = torch.unique_consecutive(torch.as_tensor(self.base.sigmas, dtype=torch.float64)[:-1])
        with warnings.catch_warnings():
            # What diffusers warns of here are levels of its own making, which are not used.
            warnings.simplefilter("ignore", DeprecationWarning)
            super().set_timesteps(len(levels))  # type: ignore[misc]
        self._stand_at(levels, device)

    def _stand_at(self, levels: torch.Tensor, device: Any) -> None:
        times = levels * self.config.num_train_timesteps
        levels = levels.clamp(self.solver.lowest, self.solver.highest)
        if self.solver.twice:
            levels, times = (torch.cat([each[:1], each[1:].repeat_interleave(2)]) for each in (levels, times))
        self.sigmas = torch.cat([levels, levels.new_tensor([self.solver.lowest])]).float()
        self.timesteps = times.float().to(device)
        self.num_inference_steps = len(levels)

    def _set_shift(self) -> None:
        for shift in ("shift", "flow_shift"):
            if shift in self.config and shift in self.base.config:
                self.base.register_to_config(**{shift: self.config[shift]})

    @staticmethod
    def _sigma_to_alpha_sigma_t(sigma: Any) -> tuple[Any, Any]:
        """Return signal and noise of a straight path; FLUX's pipeline keeps its levels from schedulers that say so."""
        return 1 - sigma, sigma


class _Shifting(_Following):
    """One whose pipeline shifts the other's levels by a method."""

    @property
    def shift(self) -> float:
        """The other's shift."""
        return float(self.base.shift if hasattr(self.base, "set_shift") else self.base.config.get("flow_shift", 1.0))

    def set_shift(self, shift: float) -> None:
        """Shift the other's levels."""
        if hasattr(self.base, "set_shift"):
            self.base.set_shift(shift)
        else:
            self.base.register_to_config(flow_shift=shift)


def entry_of(written: str, wanted: float | None) -> tuple[str, int | None]:
    """Return solver and steps of a row that is to evaluate the model so often, or nearly, and never more often.

    Raises:
        InvalidOption: If both say how many steps.

    Example:
        >>> entry_of("fewer-steps:solver=heun", 8), entry_of("fewer-steps", 8)
        (('heun', 4), ('', 8))
    """
    solver, steps = read(written)
    if wanted is None:
        return solver, steps
    if steps is not None:
        raise InvalidOption(
            f"{written!r} says how many steps, and {wanted:g} evaluations are asked for.\nLeave steps= out."
        )
    return solver, SOLVERS[solver].steps(int(wanted)) if solver else int(wanted)
