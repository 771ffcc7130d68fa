"""``padecast measure``: a pipeline measured within a number of minutes, for a page and a file to share."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from padecast import files
from padecast._errors import PadecastError, UnwritableFile, check
from padecast.calibration.provenance import device_name, place_of
from padecast.cli import _options, _tables
from padecast.cli._files import RESULTS, check_writable, write_json
from padecast.cli._pipelines import load
from padecast.cli._shell import INTERRUPTED, Failure, ending, pipeline_errors, progress, say_duration, stderr, stdout
from padecast.cli.calibrate import by_samples
from padecast.lab import cells, figures, metrics
from padecast.lab.chapters import chapters
from padecast.lab.experiment import Setting, Source
from padecast.lab.kit import families, ladder, page, pieces, sharing
from padecast.lab.kit.pieces import Fit, Order, Pace, Piece
from padecast.lab.kit.state import State, clear, open_state
from padecast.lab.pretrained import is_at_hand
from padecast.lab.runner import UNCACHED, Task, draw
from padecast.targets.pipelines import models_of

PAGE = "report.html"
LIKE = typer.Option(None, help=f"Call it as models of this family are called: {', '.join(families.FAMILIES)}.")
STEPS = typer.Option(None, min=8, help="Sampler steps; those of the family by default.")
MINUTES = typer.Option(30.0, "--budget-minutes", min=0.1, help="Measure what fits: fewer seeds, fewer rivals.")
NAME = typer.Option("", help="What the page calls the model; a name that is published, or the pipeline's class.")


def measure(
    pipeline: str = _options.PIPELINE,
    like: str | None = LIKE,
    budget_minutes: float = MINUTES,
    seeds: list[str] = _options.SEEDS,
    prompt: list[str] = _options.PROMPT,
    classes: list[str] = _options.CLASS,
    steps: int | None = STEPS,
    guidance: float | None = _options.GUIDANCE,
    shift: float | None = _options.SHIFT,
    batch: int | None = _options.BATCH,
    size: str | None = _options.SIZE,
    frames: int | None = _options.FRAMES,
    negative: str | None = _options.NEGATIVE,
    settings: list[str] = _options.SET,
    name: str = NAME,
    out: Path = typer.Option(Path("padecast-measure"), help="Folder; the same command goes on from what is there."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Only say what would be measured, and how long it takes."),
    device: str | None = _options.DEVICE,
    dtype: str | None = _options.DTYPE,
    offload: str = _options.OFFLOAD,
    overwrite: bool = typer.Option(False, "--overwrite", help="Begin anew where another measurement is."),
) -> None:
    """Measure your own checkpoint: how like real models it is, methods, other caches; a page and a file to share."""
    samples = _options.numbers(seeds, "seeds")
    check(len(samples) >= pieces.LEAST, "--seeds", list(samples), f"{pieces.LEAST} or more: one says nothing of others")
    further = _options.arguments(size, frames, negative, settings)
    figures.check_installed()
    metrics.check_installed()
    if not dry_run:
        check_writable(out)
    pipe = load(pipeline, device=device, dtype=dtype, offload=offload)
    changes = {
        "prompts": tuple(prompt),
        "classes": _options.numbers(classes, "class") if classes else (),
        "guidance": guidance,
        "shift": shift,
        "steps": steps,
    }
    family = families.family_of(pipe, pipeline, like)
    setting = _change(families.setting_of(pipe, family), changes, further)
    at_hand = ("lpips",) if is_at_hand("lpips") and not families.is_demo(pipeline) else ()
    model = type(models_of(pipe)[0]).__name__
    source = Source(name or families.name_of(pipe, pipeline), pipeline, device, dtype)
    order = Order(source, setting, samples, out, _options.batch_of(pipe, batch), at_hand, model)
    order.setting.sampling.conditions(pipe, samples)  # what the pipeline cannot take is said before it runs
    state = open_state(order, {"offload": offload}, overwrite=overwrite)
    if overwrite and not dry_run:
        clear(order)
    work = Work(pipe, order, state, 60 * budget_minutes, offload)
    with pipeline_errors():
        plan = work.announce()
    if not dry_run:
        work.do(plan)
        work.write(sharing.list_public(family.prompts))


def _change(setting: Setting, changes: Mapping[str, Any], further: Mapping[str, Any]) -> Setting:
    """Return a setting with what was asked for, and further arguments, in place of what its family has."""
    wishes = {key: value for key, value in changes.items() if value not in (None, ())}
    changed = dataclasses.replace(setting, **wishes, arguments={**setting.arguments, **further})
    return dataclasses.replace(changed, name=f"{changed.steps} steps")


class Work:
    """A measurement that is done piece by piece.

    Args:
        pipe: The pipeline.
        order: What is measured.
        state: What is there of it.
        seconds: How long it may take.
        offload: How weights are kept.
    """

    def __init__(self, pipe: Any, order: Order, state: State, seconds: float, offload: str) -> None:
        self.pipe, self.order, self.state, self.offload = pipe, order, state, offload
        self._begun, self._limit, self._before = time.monotonic(), seconds, state.seconds
        self._pace = Pace(0.0, 0.0)
        self._last: float | None = None
        self.absent: list[dict[str, Any]] = []

    @property
    def task(self) -> Task:
        """What is sampled."""
        order = self.order
        return Task(
            self.pipe, order.setting.sampling, order.steps, order.seeds, order.batch, order.source.name, order.tuning
        )

    @property
    def seconds(self) -> float:
        """How long it has taken in this process."""
        return time.monotonic() - self._begun

    def announce(self) -> Fit:
        """Time a few steps, and say what is measured and what it takes."""
        self._pace = pieces.time_pace(self.task)
        count = self.state.seeds
        done = [piece for piece in pieces.list_pieces(self.order) if count and self._holds(piece, count)]
        plan = pieces.fit(self.order, self._pace, self._limit - self.seconds, count, done)
        each = self._pace.seconds(1, self.order.steps) / self.order.batch
        device = device_name(place_of(self.pipe))
        took = self._pace.seconds(plan.calls, plan.steps)
        images = pieces.count_images(self.order, plan.steps)
        _say(
            f"about {images:.0f} images' worth of steps, some {say_duration(took)} ({each:.2g} s each, {device}): "
            f"{len(plan.pieces)} rows of {plan.seeds} seeds, {len(done)} of them there already"
        )
        if plan.absent:
            _say(f"left out for want of time: {', '.join(piece.name for piece in plan.absent)}")
        return plan

    def _holds(self, piece: Piece, count: int) -> bool:
        return self.state.shelf.holds(piece.cell(self.order, self.order.seeds[:count]))

    def do(self, plan: Fit) -> None:
        """Measure what is left, as long as there is time; every piece is written at once."""
        self.state.seeds = plan.seeds
        self.absent = [_explain(piece, "no time: give it more with --budget-minutes") for piece in plan.absent]
        total = max(round(pieces.count_images(self.order, plan.steps)), 1)
        try:
            with progress("measuring", total) as tick:
                self._do(plan, by_samples(tick))
        except KeyboardInterrupt:
            note = f"interrupted; what was measured is kept in {self.order.folder}"
            ending(f"{note}\nThe same command goes on from there.", INTERRUPTED)
        finally:
            self.state.seconds = self._before + self.seconds
            self.state.save()

    def _do(self, plan: Fit, add: Callable[[str, float], None]) -> None:
        order, memory = self.order, cells.Memory()
        if not self.state.change:
            with pipeline_errors():
                self.state.change = ladder.look(self.task, order.tuning[0], order.lessons)
            add("a first look", 1.0)
        self.state.save()
        expected, first = 0.0, self.seconds
        for piece in plan.pieces:
            if self._holds(piece, plan.seeds):
                continue
            calls, steps = pieces.price_piece(order, piece, plan.seeds, first=not memory)
            cost = self._pace.seconds(calls, steps)
            behind = max((self.seconds - first) / expected, 1.0) if expected else 1.0
            if self.seconds + cost * behind > self._limit:
                self.absent.append(_explain(piece, "no time was left: the same command goes on"))
                continue
            self._measure(piece, plan.seeds, memory)
            expected += cost
            add(piece.name, pieces.count_images(order, steps))
        self._time_again()

    def _time_again(self) -> None:
        """Time an uncached call once more, if there is time, so that a busy machine is noticed."""
        if self.seconds + self._pace.seconds(1, self.order.steps) <= self._limit:
            with pipeline_errors():
                self._last = draw(self.task, UNCACHED, self.order.seeds[: self.order.batch]).seconds

    def _measure(self, piece: Piece, count: int, memory: cells.Memory) -> None:
        cell = piece.cell(self.order, self.order.seeds[:count])
        try:
            with pipeline_errors():
                document = cells.run(cell, lambda _: self.pipe, None, memory, piece.enter)
        except UnwritableFile:
            raise
        except (Failure, PadecastError) as error:
            _say(f"{piece.name} failed: {error}")
            why = str(error).partition(":")[0] if isinstance(error, Failure) else str(error).partition("\n")[0]
            self.absent.append(_explain(piece, why))
        else:
            self.state.shelf.put(cell, document)

    def write(self, public: Sequence[str]) -> None:
        """Write the page and the file to share, and print what they say.

        Raises:
            Failure: If nothing was measured.
        """
        order, state = self.order, self.state
        veil, name = sharing.Veil(_list_secrets(order, public)), order.source.name
        places = {(piece.name, piece.wanted): place for place, piece in enumerate(pieces.list_pieces(order))}
        if not list((order.folder / "cells").glob("*.json")):
            raise Failure("nothing was measured: the first row failed, or there was no time for it.")
        documents = [sharing.show_cell(document, veil, name, public) for document in state.shelf.documents()]
        documents.sort(key=lambda document: places[document["cell"]["chosen"], document["cell"]["wanted"]])
        lesson = ladder.lesson_in(order.lessons)
        shared = sharing.compose(
            documents,
            model=sharing.describe_model(self.pipe, name),
            price=self._price(documents),
            change=state.change,
            lesson=lesson,
            absent=[{**row, "why": veil.hide(row["why"])} for row in self.absent],
        )
        files.write(order.folder / PAGE, page.render(shared, documents, lesson))
        write_json(order.folder / RESULTS, shared)
        self._show(shared, documents)

    def _price(self, documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return what it took: images' worth of steps as they were estimated, minutes, and seconds of an image."""
        order = self.order
        rows = {(document["cell"]["chosen"], document["cell"]["wanted"]) for document in documents}
        held = [piece for piece in pieces.list_pieces(order) if (piece.name, piece.wanted) in rows]
        _, steps = pieces.price(order, held, self.state.seeds)
        uncached = [document["uncached"] for document in documents if "uncached" in document]
        first = uncached[0]["seconds"] if uncached else None
        return {
            "images": round(pieces.count_images(order, steps), 1),
            "minutes": round(self.state.seconds / 60, 2),
            "seconds": round((first or self._pace.seconds(1, order.steps)) / order.batch, 4),
            "first": first,
            "last": self._last,
            "offload": self.offload,
        }

    def _show(self, shared: dict[str, Any], documents: Sequence[dict[str, Any]]) -> None:
        row, order = shared["ladder"], self.order
        for line, met in zip(ladder.LINES, row["met"], strict=True):
            stdout().print(f"{'not measured' if met is None else 'met' if met else 'not met':12}  {line}")
        stdout().print(f"{ladder.describe(row)}\n")
        for chapter in chapters(documents):
            comparison = chapter.comparison(order.computed)
            if comparison is not None:
                _tables.show(comparison, stdout())
        if busy := page.describe_busy(shared["price"]):
            stdout().print(busy, style="yellow")
        for row in shared["absent"]:
            _say(f"not measured: {row['name']}, {row['wanted']} computed: {row['why']}")
        took = say_duration(self.state.seconds)
        _say(
            f"wrote {PAGE} and {RESULTS} to {order.folder}, after {took}; {RESULTS} holds nothing of yours but figures"
        )


def _explain(piece: Piece, why: str) -> dict[str, Any]:
    return {"name": piece.name, "wanted": piece.wanted, "why": why}


def _list_secrets(order: Order, public: Sequence[str]) -> list[str]:
    """Return texts that are the user's own: prompts, other texts of the call, names of folders."""
    sampling = order.setting.sampling
    texts = [value for value in sampling.arguments.values() if isinstance(value, str)]
    texts += [prompt for prompt in sampling.prompts if prompt not in public]
    places = [order.folder, order.folder.absolute()]
    if order.source.source != order.source.name:
        places += [Path(order.source.source), Path(order.source.source).absolute()]
    return [*texts, *map(str, places), *(place.name for place in places)]


def _say(text: str) -> None:
    stderr().print(text, highlight=False, markup=False, soft_wrap=True)
