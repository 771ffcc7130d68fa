"""What is measured of a pipeline, most important first, what each piece costs, and how much of it fits into a time."""

from __future__ import annotations

import dataclasses
import json
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from padecast import calibration
from padecast._errors import InvalidOption
from padecast.calibration import Calibration
from padecast.lab.cells import Cell
from padecast.lab.experiment import Setting, Source
from padecast.lab.kit import ladder
from padecast.lab.measure import ONCE
from padecast.lab.metrics import ssim
from padecast.lab.peers.stacks import SEEN_BY_SEA
from padecast.lab.runner import UNCACHED, Entry, Task, draw
from padecast.lab.search import TRIALS
from padecast.lab.solvers import FEWER
from padecast.lessons import Library
from padecast.methods import DEFAULT

LEAST, FEW = 2, 4
"""Seeds that say something at all, and those below which rivals are left out before seeds are."""
SAMPLES = 4
"""Seeds of the calibration."""
SHOWN = 3
"""Samples whose images are kept."""
SPEEDUP = 2.5
"""Steps over those that methods compute."""
CALIBRATED, LEARNED = "calibrated quick", "learned"


@dataclass(frozen=True)
class Order:
    """What is measured, and where it goes.

    Args:
        source: The pipeline.
        setting: How it is called.
        seeds: Samples, most important first.
        folder: Where all is kept.
        batch: Seeds per call.
        metrics: Metrics of published networks.
        model: Class of its transformer.
    """

    source: Source
    setting: Setting
    seeds: tuple[int, ...]
    folder: Path
    batch: int = 1
    metrics: tuple[str, ...] = ()
    model: str = ""

    @property
    def steps(self) -> int:
        """Of the sampler."""
        return self.setting.steps

    @property
    def computed(self) -> int:
        """Steps that methods are compared at."""
        return max(round(self.steps / SPEEDUP), 1)

    @property
    def tuning(self) -> tuple[int, ...]:
        """Seeds on which methods are tuned and taught."""
        return tuple(range(max((*self.seeds, 9_999)) + 1, max((*self.seeds, 9_999)) + 1 + self.batch))

    @property
    def calibrating(self) -> tuple[int, ...]:
        """Seeds on which plans are calibrated."""
        first = max((*self.seeds, *self.tuning, 29_999)) + 1
        return tuple(range(first, first + SAMPLES))

    @property
    def lessons(self) -> Path:
        """Folder of the lesson."""
        return self.folder / "lessons"

    @property
    def calibration(self) -> Path:
        """File of the calibration."""
        return self.folder / "calibration.json"


@dataclass(frozen=True)
class Piece:
    """One row, or a rung of the ladder.

    Args:
        name: A method or a cache as it is written, or what the row is called.
        wanted: Computed steps.
        before: Steps of a full batch that are drawn before it can be measured: tuning, or a calibration.
        trials: Calls in which they are drawn.
        needed: Whether nothing is said without it.
        enter: Puts it together; what is written is read as a method by default.
    """

    name: str
    wanted: int
    before: float = 0.0
    trials: int = 0
    needed: bool = False
    enter: Callable[[Task], Entry] | None = field(default=None, compare=False)

    def cell(self, order: Order, seeds: Sequence[int]) -> Cell:
        """Return the piece of work that the lab does."""
        return Cell(
            "measure",
            order.source,
            order.setting,
            self.name,
            self.wanted,
            tuple(seeds),
            order.tuning,
            order.batch,
            shown=SHOWN,
            flops=False,
            timed=ONCE,
            metrics=order.metrics,
        )


@dataclass(frozen=True)
class Pace:
    """How fast a full batch is drawn, in seconds.

    Args:
        call: What a call takes besides its steps: text, latents, pictures, and comparing them.
        step: Of the sampler.
    """

    call: float
    step: float

    def seconds(self, calls: float, steps: float) -> float:
        """Return how long so many calls of so many steps in all take.

        Example:
            >>> Pace(2.0, 0.5).seconds(3, 60)
            36.0
        """
        return calls * self.call + steps * self.step


def time_pace(task: Task) -> Pace:
    """Time two steps and four, of a full batch, once it is warm, and how long it takes to compare images."""
    seeds = task.tuning().batches()[0]
    draw(task, dataclasses.replace(UNCACHED, steps=2), seeds)
    short, long = (draw(task, dataclasses.replace(UNCACHED, steps=steps), seeds) for steps in (2, 4))
    start = time.perf_counter()
    ssim(short.images, long.images)
    comparing = time.perf_counter() - start
    step = max(long.seconds - short.seconds, 0.0) / 2
    return Pace(max(short.seconds - 2 * step, 0.0) + comparing, step)


def list_pieces(order: Order) -> list[Piece]:
    """Return all that is measured, most important first."""
    steps, computed = order.steps, order.computed
    half, third = steps // 2, ladder.count_third(steps)
    tuning: dict[str, Any] = {"before": TRIALS * steps / 2, "trials": TRIALS}
    rung = {way: partial(ladder.enter, way) for way in ladder.RUNGS}
    samples = SAMPLES / order.batch
    quick = calibration.price("quick", [computed], order.calibrating, steps) / order.batch
    pieces = [
        Piece(FEWER, computed, needed=True),
        Piece(LEARNED, computed, needed=True, enter=partial(enter_taught, order)),
        Piece(DEFAULT, computed, **tuning, needed=True),
        Piece(FEWER, half, needed=True),
        Piece(ladder.REPETITION, half, needed=True, enter=rung[ladder.REPETITION]),
        Piece(ladder.LINE, half, needed=True, enter=rung[ladder.LINE]),
        Piece("diffusers.first-block", computed, **tuning),
        Piece(CALIBRATED, computed, quick * steps, round(quick * SPEEDUP + samples), enter=partial(calibrate, order)),
        Piece(ladder.TAYLOR, third, enter=rung[ladder.TAYLOR]),
        Piece(ladder.GATE, third, **tuning, enter=rung[ladder.GATE]),
        Piece("diffusers.taylorseer", computed, 4 * computed, 4),
        Piece("diffusers.magcache", computed, steps + TRIALS * steps / 2, TRIALS + 1),
        Piece("tc-pade", computed),
    ]
    if order.model in SEEN_BY_SEA:
        pieces.append(Piece("diffusers.seacache", computed, **tuning))
    return list(dict.fromkeys(pieces))  # half the steps may be as many as methods compute


def enter_taught(order: Order, task: Task) -> Entry:
    """Return the method that learns, as the first look taught it."""
    entry = Entry.of(f"{LEARNED}:computed={order.computed}", wanted=order.computed)
    entry = dataclasses.replace(entry, name=LEARNED, lessons=Library(order.lessons), teaching=1)
    if ladder.lesson_in(order.lessons) is None:
        return dataclasses.replace(entry, refusal="an uncached run of this pipeline taught it nothing")
    return entry


def calibrate(order: Order, task: Task) -> Entry:
    """Return the plan of a quick calibration, which is made unless it is there; an interrupted one goes on."""
    file = order.calibration
    if not file.is_file():
        journal = file.with_suffix(".part.jsonl")
        calibration.calibrate(
            task.pipe,
            lambda pipe, seeds: task.call(pipe, seeds, num_inference_steps=task.steps),
            [order.computed],
            order.calibrating,
            batch=order.batch,
            resume=journal,
        ).save(file)
        journal.unlink(missing_ok=True)
    method = Calibration.load(file).method(computed=order.computed)
    return Entry.of(dataclasses.replace(method, name=CALIBRATED), wanted=order.computed)


# How much fits --------------------------------------------------------------------------------------------------------


def price_piece(order: Order, piece: Piece, seeds: int, *, first: bool = False) -> tuple[float, float]:
    """Return calls and steps of full batches that a piece takes.

    Args:
        order: What it is a piece of.
        piece: Which.
        seeds: Samples.
        first: Whether the uncached run of every seed is drawn with it.
    """
    calls, share = math.ceil(seeds / order.batch), seeds / order.batch
    steps = piece.wanted + (order.steps if first else 0)
    return piece.trials + calls * (2 if first else 1), piece.before + share * steps


def price(order: Order, pieces: Sequence[Piece], seeds: int) -> tuple[float, float]:
    """Return calls and steps of full batches that pieces take, with one look and the uncached run of every seed."""
    if not pieces:
        return 0.0, 0.0
    parts = [price_piece(order, piece, seeds, first=place == 0) for place, piece in enumerate(pieces)]
    return 2 + sum(calls for calls, _ in parts), order.steps / order.batch + 2 + sum(steps for _, steps in parts)


@dataclass(frozen=True)
class Fit:
    """What fits.

    Args:
        pieces: That are measured, most important first.
        seeds: Samples of each.
        absent: That are left out, because there is no time for them.
        calls: Of the pipeline.
        steps: Of the sampler in all of them.
    """

    pieces: tuple[Piece, ...]
    seeds: int
    absent: tuple[Piece, ...]
    calls: float
    steps: float


def fit(order: Order, pace: Pace, seconds: float, fixed: int = 0, done: Collection[Piece] = ()) -> Fit:
    """Return as many seeds and pieces as fit: fewer seeds first, down to four, then fewer rivals, then two seeds.

    Args:
        order: What is wanted.
        pace: How fast it is drawn.
        seconds: The time.
        fixed: How many seeds it must be; as many as fit by default.
        done: Pieces that are there already, and cost nothing.

    Raises:
        InvalidOption: If the time is too short for what says anything.
    """
    pieces, most = list_pieces(order), len(order.seeds)
    cut = [piece for piece in pieces if not piece.needed and piece not in done]
    counts = [fixed] if fixed else [*range(most, min(FEW, most), -1), min(FEW, most)]
    choices = [(count, 0) for count in counts]
    choices += [(counts[-1], dropped) for dropped in range(1, len(cut) + 1)]
    choices += [(count, len(cut)) for count in range(counts[-1] - 1, LEAST - 1, -1) if not fixed]
    for count, dropped in choices:
        absent = cut[len(cut) - dropped :]
        held = [piece for piece in pieces if piece not in absent]
        calls, steps = price(order, [piece for piece in held if piece not in done], count)
        if pace.seconds(calls, steps) <= seconds:
            return Fit(tuple(held), count, tuple(absent), calls, steps)
    minutes = pace.seconds(calls, steps) / 60
    raise InvalidOption(
        f"the least that says anything takes about {math.ceil(minutes)} minutes, and {seconds / 60:.0f} are left.\n"
        f"Give it more: --budget-minutes {math.ceil(1.1 * minutes)}; or make it smaller: --size 512x512, --frames 17, "
        "--steps 20"
    )


def count_images(order: Order, steps: float) -> float:
    """Return how many uncached images so many steps of full batches are."""
    return steps * order.batch / order.steps


def request(order: Order) -> dict[str, Any]:
    """Return what tells one measurement from another, as JSON gives it back: all but its place."""
    plain = {name: value for name, value in dataclasses.asdict(order).items() if name != "folder"}
    read: dict[str, Any] = json.loads(json.dumps(plain))
    return read
