"""Plans that searches found on real models, and those of the rule that tc-pade spaces its steps by."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from padecast._noise import Noise
from padecast._steps import Position
from padecast.policies import Spaced
from padecast.policies.published import Published, list_published
from padecast.policies.spaced import FACTOR, LEAST, choose_steps

Steps = tuple[int, ...]
LENGTH = 50


@dataclass(frozen=True)
class Searched:
    """A real model that plans were searched for: its latents and its schedule, a flow's.

    Args:
        title: Model and setting, in words.
        size: Numbers of one sample's latents.
        shift: Of the schedule.
        terminal: Noise level of the last step, where the schedule is stretched to end there.
    """

    title: str
    size: int
    shift: float
    terminal: float | None = None

    def noise(self, steps: int = LENGTH) -> Noise:
        """Return the noise levels of a run of so many steps."""
        even = [1 - index * (1 - 1 / steps) / (steps - 1) for index in range(steps)]
        levels = [self.shift * level / (1 + (self.shift - 1) * level) for level in even]
        if self.terminal is not None:
            stretch = (1 - self.terminal) / (1 - levels[-1])
            levels = [1 - (1 - level) * stretch for level in levels]
        levels.append(0.0)
        return Noise(tuple(1 - level for level in levels), tuple(levels), self.size)


MODELS = {
    "flux": Searched("FLUX.1-dev, 1024 x 1024", 16 * 128 * 128, math.exp(1.15)),
    "qwen": Searched(
        "Qwen-Image, 1328 x 1328", 16 * 166 * 166, math.exp(0.5 + 0.4 * (6889 - 256) / (8192 - 256)), 0.02
    ),
    "hunyuan": Searched("HunyuanVideo, 640 x 480, 65 frames", 16 * 17 * 60 * 80, 7.0),
    "wan": Searched("Wan2.1-1.3B, 832 x 480, 65 frames", 16 * 17 * 60 * 104, 5.0),
}
Cells = dict[tuple[str, int], list[Published]]


def list_searched() -> Cells:
    """Return the plans that were searched for, by model and computed steps.

    Those marked as shipped were written for some code, and no search is known behind them.
    """
    cells: Cells = defaultdict(list)
    for plan in list_published().values():
        model = plan.name.partition("-")[0]
        if model in MODELS and plan.steps == LENGTH and "as shipped" not in plan.search:
            cells[model, plan.plan.nfe].append(plan)
    return dict(sorted(cells.items(), key=lambda item: (list(MODELS).index(item[0][0]), item[0][1])))


def kappa_of(size: float, steps: int, count: int, factor: float = FACTOR, least: float = LEAST) -> float:
    """Return the kappa of the rule; see :class:`padecast.policies.Spaced`."""
    return float(factor * steps / count * math.sqrt(size + least))


def place_steps(noise: Noise, count: int, kappa: float) -> Steps:
    """Return the steps of the rule at any kappa."""
    steps = len(noise.sigmas) - 1
    policy = Spaced(every=(steps - 1) / (count - 1), density=kappa / kappa_of(noise.size, steps, count))
    places = policy.places(Position.at(0, steps, noise=noise), 0, count)
    return tuple(sorted(choose_steps(places[:-1], count)))


def space_evenly(steps: int, count: int) -> Steps:
    """Return evenly spaced steps, the first and the last among them."""
    return tuple(round(number * (steps - 1) / (count - 1)) for number in range(count))


def distance(plan: Sequence[float], other: Sequence[float]) -> float:
    """Return how far apart the j-th steps of two plans are on average, in % of the number of steps."""
    return 100 * fmean(abs(a - b) for a, b in zip(plan, other, strict=True)) / LENGTH


def average(plans: Iterable[Sequence[int]]) -> list[float]:
    """Return the mean of the j-th steps of plans."""
    return [fmean(nodes) for nodes in zip(*plans, strict=True)]
