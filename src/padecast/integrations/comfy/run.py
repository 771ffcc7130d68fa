"""One run of a sampler: its session, and what its calls are answered with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from padecast.handles.learning import Learning
from padecast.handles.warnings import warn
from padecast.integrations.comfy.conditions import find_conditions
from padecast.integrations.comfy.learning import serve
from padecast.integrations.comfy.settings import Settings, is_flow
from padecast.memory.memory import Memory
from padecast.session.grid import read_level
from padecast.session.observer import Observer
from padecast.session.rehearsal import Rehearsal
from padecast.session.session import Session

Predictions = list[Tensor]
Compute = Callable[[list[Any]], Predictions]
"""Returns the clean images of conditionings; those that are ``None`` are left out."""
PAIR = ("cond", "uncond")


class Run:
    """One run of a sampler.

    Args:
        owner: Whose it is, where several are on one model.
        settings: What is done.
        rehearsal: Of its sampler.
        guider: ComfyUI's, which knows the model and the guidance scale.
        options: ComfyUI's ``model_options`` of the run.
        size: Numbers of one sample's latents.

    Raises:
        InvalidPlan: If the method is a plan of another length.
        InvalidOption: If levels rise.
    """

    def __init__(
        self,
        owner: object,
        settings: Settings,
        rehearsal: Rehearsal,
        guider: Any,
        options: Mapping[str, Any],
        size: float,
    ) -> None:
        self._spare: list[Memory] = []
        self._learning = Learning(settings.method, settings.library) if settings.library is not None else None
        grid, method = rehearsal.grid(is_flow(guider), settings.prediction), settings.method
        observers: list[Observer] = []
        if self._learning is not None:
            method = serve(self._learning, guider, options, grid, size, _told_of(guider))
            observers = self._learning.observers
        # What teaches is what the model says, not what it says with something paid back.
        teaches = self._learning is not None and self._learning.teacher is not None
        shared: dict[str, Any] = {
            "spare": self._spare,
            "observers": observers,
            "amend": bool(grid.effects) and not teaches,
        }
        self.session = settings.session(method, grid, rehearsal.is_random, **shared)
        self.owner = owner
        self.is_windowed = "context_handler" in options
        """Whether the model sees windows of the latents that move from step to step. What was predicted in one place
        says nothing of another then, so that the composed prediction is forecast, after guidance."""
        self._fact = ""
        self._settings, self._guider = settings, guider
        self._functions = len(options.get("sampler_post_cfg_function", ()))  # that the user wants called after guidance
        self._call = 0
        self._is_checked = self._is_open = False

    @property
    def remarks(self) -> tuple[str, ...]:
        """What is to be said of the run besides its steps and its session's surprises."""
        learnt = () if self._learning is None else self._learning.remarks
        return (*([self._fact] if self._fact else []), *learnt)

    def end(self) -> None:
        """Hear that the run reached its end, and teach what it taught."""
        if self._learning is not None and self._learning.teacher is not None:
            self._learning.teacher.close()

    def close(self) -> None:
        """Let go of everything that is remembered, also where an error keeps the run itself."""
        self.session.close()
        self._spare.clear()

    def predict(self, x: Tensor, timestep: Tensor, options: dict[str, Any], compute: Callable[[], Tensor]) -> Tensor:
        """Return the guided prediction of an evaluation.

        Args:
            x: Latents.
            timestep: Noise levels of the samples, which are alike.
            options: ComfyUI's ``model_options`` of the call.
            compute: Makes the prediction.
        """
        self._call = 0
        if not self.is_windowed:
            guided = compute()
            if self._learning is not None and self._learning.teacher is not None:
                answer = Answer(self._settings.prediction, x, read_level(timestep), lambda _: [], ())
                self.session.guide(answer.encode(guided))
            return guided
        if self._is_open:
            return compute()
        if len(options.get("sampler_post_cfg_function", ())) > self._functions:
            self._is_open = True
            self._fact = "all was computed: this sampler looks into guidance, which moving windows compose"
            warn(
                f"{self._fact}.\nUsual cause: a sampler of CFG++ with context windows. Take another sampler, such "
                "as euler, or no context windows."
            )
            return compute()
        sigma = read_level(timestep)
        everything = [entry for entries in _conds_of(self._guider) for entry in entries]
        answer = Answer(self._settings.prediction, x, sigma, lambda _: [compute()], [everything])
        return answer.step(self.session, 0, "guided", find_conditions(everything, sigma))

    def calculate(self, conds: Sequence[Any], x: Tensor, timestep: Tensor, compute: Compute) -> Predictions:
        """Return the predictions of all conditionings at one call.

        Args:
            conds: Entries of each; ``None`` where there is none.
            x: Latents.
            timestep: Noise levels of the samples, which are alike.
            compute: Makes predictions.
        """
        number, self._call = self._call, self._call + 1
        names = self._name_branches(conds, number)
        self._check(tuple(name for name, entries in zip(names, conds, strict=True) if entries is not None))
        sigma = read_level(timestep)
        answer = Answer(self._settings.prediction, x, sigma, compute, conds)
        return [
            torch.zeros_like(x)
            if entries is None
            else answer.step(self.session, place, names[place], find_conditions(entries, sigma))
            for place, entries in enumerate(conds)
        ]

    def _name_branches(self, conds: Sequence[Any], number: int) -> list[str]:
        """Name conditionings by their place in the call, and further calls of an evaluation by their number."""
        names = PAIR if len(conds) <= len(PAIR) else [f"cond {place + 1}" for place in range(len(conds))]
        return [name if number == 0 else f"call {number + 1}, {name}" for name in names[: len(conds)]]

    def _check(self, branches: tuple[str, ...]) -> None:
        """Check once whether the calibration was made for the run."""
        if self._is_checked or self.session.grid is None:
            return
        self._is_checked = True
        self._settings.check_run(self.session.grid, _guidance_of(self._guider, len(branches)), branches)


class Answer:
    """Answers one call: every conditioning by its forecast, or all that have none by one call of the model.

    Args:
        prediction: What is forecast.
        x: Latents.
        sigma: Noise level.
        compute: Makes predictions.
        conds: Entries of every conditioning.
    """

    def __init__(self, prediction: str, x: Tensor, sigma: float, compute: Compute, conds: Sequence[Any]) -> None:
        # At the end of a run there is no noise to divide by.
        self._scale = sigma if prediction == "velocity" and sigma > 0 else 0.0
        self._x, self._sigma, self._compute, self._conds = x, sigma, compute, conds
        self._images: dict[int, Tensor] = {}
        self._has_forecast = False

    def step(self, session: Session, place: int, branch: str, conditions: Any) -> Tensor:
        """Return the clean image of one conditioning."""
        learnt: list[Tensor] = []

        def compute() -> Tensor:
            learnt.append(self.encode(self._image(place)))
            return learnt[0]

        output = session.step(
            None, like=self._x, sigma=self._sigma, branch=branch, conditions=conditions, compute=compute
        )
        # What was computed is handed on as it is: there and back again would round it.
        if learnt and output is learnt[0]:
            return self._images[place]
        self._has_forecast |= not learnt
        return self._decode(output)

    def _image(self, place: int) -> Tensor:
        """Compute a conditioning, and with it those that follow, unless some had forecasts: then it alone has none."""
        if place not in self._images:
            left = [place] if self._has_forecast else range(place, len(self._conds))
            conds = [entries if index in left else None for index, entries in enumerate(self._conds)]
            self._images.update((index, image) for index, image in enumerate(self._compute(conds)) if index in left)
        return self._images[place]

    def encode(self, image: Tensor) -> Tensor:
        """Return what is forecast of a clean image."""
        return (self._x - image) / self._scale if self._scale else image.clone()

    def _decode(self, output: Tensor) -> Tensor:
        return self._x - self._scale * output if self._scale else output


def _conds_of(guider: Any) -> list[list[Any]]:
    return [entries for entries in (getattr(guider, "conds", None) or {}).values() if entries]


def _guidance_of(guider: Any, count: int) -> float | None:
    """Return the guidance scale: that of classifier-free guidance where it is at work, else what the model is told."""
    if count > 1:
        scale = getattr(guider, "cfg", None)
        return None if scale is None else float(scale)
    return _told_of(guider)


def _told_of(guider: Any) -> float | None:
    """Return the guidance scale that the model itself is told, as FLUX is."""
    scales = {entry.get("guidance") for entries in _conds_of(guider)[:1] for entry in entries}
    return float(scale) if len(scales) == 1 and (scale := scales.pop()) is not None else None
