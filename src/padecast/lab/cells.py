"""An experiment as independent pieces of work, and the function that does one.

A cell is plain data: it pickles, goes to JSON and back, and names its own file, so that any runner, in one process or
on many machines, can take cells in any order::

    for cell in cells(experiment):
        document = run(cell, load)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from padecast import files, zoo
from padecast._errors import CalibrationMismatch, InvalidOption
from padecast.calibration import Calibration
from padecast.calibration.provenance import Provenance
from padecast.lab._tables import Numbers
from padecast.lab.experiment import Experiment, Setting, Source
from padecast.lab.measure import Progress, calls, measure
from padecast.lab.origins import origin, parse_shipped
from padecast.lab.pixels import encode
from padecast.lab.portrait import portrait
from padecast.lab.preparation import prepare
from padecast.lab.pretrained import metrics_of
from padecast.lab.results import Refusal
from padecast.lab.runner import UNCACHED, Entry, Task
from padecast.lab.scores import scores_of
from padecast.lab.solvers import FEWER
from padecast.lab.tuning import tune
from padecast.report import finite

KIND, SCHEMA = "padecast cell", 1
IMAGES = 30 * 2**20
"""Characters of images that a cell holds at most."""
Memory = dict[str, dict[Any, Any]]
"""What cells that are done one after the other need not draw twice; begin with an empty one."""
UNCACHED_NAME = UNCACHED.name
Enter = Callable[[Task], Entry]
"""Puts a method together for a task."""


@dataclass(frozen=True)
class Cell:
    """One method on one pipeline in one setting.

    Args:
        kind: ``"measure"``, ``"sweep"`` or ``"portrait"``.
        source: The pipeline.
        setting: How it is called.
        chosen: A method or peer as it is written, ``"fewer-steps"``, ``"uncached"``, or ``"calibrated:FILE"``.
        wanted: Computed steps that it is tuned to; ``None`` as it is written.
        seeds: Measured.
        development: Tuned on.
        batch: Seeds per call.
        repeats: How often every call is timed.
        shown: Samples whose images are kept.
        flops: Whether operations are counted.
        timed: Whether times are taken; see :func:`padecast.lab.measure.measure`.
        metrics: Names of metrics of published networks; see :mod:`padecast.lab.pretrained`.
        option: The option that a sweep turns.
        origin: Digest of weights, of the method with all of its options, or of the calibration, so that a cell that
            was finished with others is not taken for this one.
    """

    kind: str
    source: Source
    setting: Setting
    chosen: str
    wanted: int | None
    seeds: Numbers
    development: Numbers = ()
    batch: int = 8
    repeats: int = 1
    shown: int = 8
    flops: bool = True
    timed: bool | str = True
    metrics: tuple[str, ...] = ()
    option: str = ""
    origin: str = ""

    @property
    def name(self) -> str:
        """What it is called in lists: ``digits, hard: tc-pade at 8``."""
        at = "" if self.wanted is None else f" at {self.wanted}"
        kind = f" ({self.kind})" if self.kind != "measure" else ""
        return f"{self.source.name}, {self.setting.name}: {self.chosen}{at}{kind}"

    @property
    def configuration(self) -> dict[str, Any]:
        """All of it as plain data, as JSON gives it back."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @property
    def file(self) -> str:
        """Name of its file: what it is, and a digest of all that it is asked; a cell of another origin is replaced."""
        request = {name: value for name, value in self.configuration.items() if name != "origin"}
        digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()[:10]
        return f"{re.sub(r'[^a-z0-9]+', '-', self.name.lower()).strip('-')[:80]}-{digest}.json"

    def task(self, pipe: Any, memory: Memory | None = None) -> Task:
        """Return what it samples."""
        scores = {**scores_of(pipe, self.source.source, self.source.scores), **metrics_of(self.metrics)}
        return Task(
            pipe,
            self.setting.sampling,
            self.setting.steps,
            self.seeds,
            self.batch,
            f"{self.source.name}, {self.setting.name}",
            self.development,
            scores,
            None if memory is None else self._of(memory),
        )

    def _of(self, memory: Memory) -> dict[Any, Any]:
        """Return what is remembered of its pipeline and setting, and forget all others."""
        configuration = self.configuration
        key = json.dumps([configuration[name] for name in ("source", "setting", "batch", "metrics")], sort_keys=True)
        if key not in memory:
            memory.clear()
        return memory.setdefault(key, {})

    @property
    def calls(self) -> int:
        """How many calls of the pipeline it reports while it is measured; tuning comes on top."""
        return calls(Task(None, self.setting.sampling, seeds=self.seeds, batch=self.batch), 1, repeats=self.repeats)


def cells(experiment: Experiment) -> list[Cell]:
    """Return the pieces of work of an experiment, each once."""
    pieces = {
        cell.file: cell
        for source in experiment.pipelines
        for setting in experiment.settings
        if not setting.pipelines or source.name in setting.pipelines
        for cell in _of_task(experiment, source, setting)
    }
    return list(pieces.values())


def run(
    cell: Cell,
    load: Callable[[Source], Any],
    progress: Progress | None = None,
    memory: Memory | None = None,
    enter: Enter | None = None,
) -> dict[str, Any]:
    """Do one piece of work.

    Args:
        cell: Which.
        load: Returns its pipeline; asked once.
        progress: Told a word after every call.
        memory: Handed from one cell to the next; nothing is remembered by default.
        enter: Returns what is measured, tuned and taught, for a cell whose words name no method that is registered.

    Returns:
        What goes to its file: plain data.

    Raises:
        PadecastError: If it cannot be done; a peer that cannot be put on the pipeline is a result.
    """
    pipe = load(cell.source)
    task = cell.task(pipe, memory)
    document = _portrait(cell, task) if cell.kind == "portrait" else _measure(cell, task, progress, enter)
    provenance = dataclasses.asdict(Provenance.of(pipe))
    plain: dict[str, Any] = finite(
        {"kind": KIND, "schema": SCHEMA, "cell": cell.configuration, "provenance": provenance, **document}
    )
    return plain


def _of_task(experiment: Experiment, source: Source, setting: Setting) -> Iterator[Cell]:
    fields = ("seeds", "development", "batch", "repeats", "shown", "flops", "timed", "metrics")
    shared = {name: getattr(experiment, name) for name in fields}

    def cell(kind: str, way: str, nfe: int | None, **changes: Any) -> Cell:
        digest = origin(source.source, way)
        return Cell(kind, source, setting, way, nfe, origin=digest, **{**shared, **changes})

    for nfe in experiment.nfe or (None,):
        if nfe is not None:
            yield cell("measure", FEWER, nfe)
        for way in (*experiment.methods, *experiment.peers):
            yield cell("measure", way, nfe)
        for file in experiment.calibrations if nfe is not None else ():
            if _belongs(file, setting):
                yield cell("measure", f"calibrated:{file}", nfe)
    for sweep in experiment.sweeps:
        for method in sweep.methods:
            for value in sweep.values:
                yield cell("sweep", sweep.write(method, value), None, option=sweep.option)
    portraits = experiment.portraits
    if portraits.seeds:
        nfe = portraits.nfe or next(iter(experiment.nfe), None)
        shape = {"seeds": portraits.seeds, "development": _others(experiment, portraits.seeds)}
        for way in (UNCACHED_NAME, *(portraits.methods or (*experiment.methods, *experiment.peers))):
            yield cell("portrait", way, None if way == UNCACHED_NAME else nfe, **shape)


def _others(experiment: Experiment, seeds: Numbers) -> Numbers:
    return tuple(seed for seed in experiment.development if seed not in seeds)


def _belongs(file: str, setting: Setting) -> bool:
    """Whether a calibration is meant for a setting: one that ships says so in its name."""
    named = parse_shipped(file)
    return named is None or named[1] == setting.name


def _entry(cell: Cell) -> Entry:
    kind, _, file = cell.chosen.partition(":")
    if cell.chosen == UNCACHED_NAME:
        return UNCACHED
    if cell.chosen == FEWER and cell.wanted is not None:
        return Entry.fewer(cell.wanted, wanted=cell.wanted)
    if kind == "calibrated" and cell.wanted is not None:
        calibration = _calibration(file)
        name = f"calibrated {calibration.effort}".rstrip()  # files of before know of no effort
        method = dataclasses.replace(calibration.method(computed=cell.wanted), name=name)
        return dataclasses.replace(Entry.of(method, wanted=cell.wanted), written=f"{file}, computed={cell.wanted}")
    return Entry.of(cell.chosen, wanted=cell.wanted)


def _calibration(file: str) -> Calibration:
    named = parse_shipped(file)
    return zoo.calibration(*named) if named else Calibration.load(files.locate(file, "calibration"))


def _tune(cell: Cell, task: Task) -> Entry:
    try:
        entry = _entry(cell)
    except (InvalidOption, CalibrationMismatch) as error:  # a calibration without that number of computed steps
        if not cell.chosen.startswith("calibrated:"):
            raise
        return Entry("calibrated", wanted=cell.wanted, refusal=str(error).partition("\n")[0])
    if cell.wanted is None or cell.chosen.startswith(("calibrated:", FEWER)):
        return prepare(task.tuning(), entry)
    return tune(task.tuning(), entry, cell.wanted)


def _measure(cell: Cell, task: Task, progress: Progress | None, enter: Enter | None) -> dict[str, Any]:
    entry = _tune(cell, task) if enter is None else enter(task)
    if entry.refusal:
        return {"settings": task.settings(), "refusal": dataclasses.asdict(Refusal.of(entry))}
    compared = measure(task, [entry], repeats=cell.repeats, flops=cell.flops, timed=cell.timed, progress=progress)
    if compared.refusals:
        return {"settings": compared.settings, "refusal": dataclasses.asdict(compared.refusals[0])}
    uncached, result = compared.results
    return {
        "settings": compared.settings,
        "uncached": uncached.to_dict(),
        "result": result.to_dict(),
        "images": _encode(*(images[: cell.shown] for images in compared.images)),
    }


def _encode(uncached: Iterable[Tensor], result: Iterable[Tensor]) -> dict[str, list[str]]:
    """Return as many pairs of images as a file may hold, and one at least."""
    images: dict[str, list[str]] = {"uncached": [], "result": []}
    taken = 0
    for pair in zip(uncached, result, strict=True):
        written = [encode(image) for image in pair]
        taken += sum(map(len, written))
        if taken > IMAGES and images["uncached"]:
            break
        for texts, text in zip(images.values(), written, strict=True):
            texts.append(text)
    return images


def _portrait(cell: Cell, task: Task) -> dict[str, Any]:
    entry = _tune(cell, task)
    if entry.refusal:
        return {"settings": task.settings(), "refusal": dataclasses.asdict(Refusal.of(entry))}
    return {"settings": task.settings(), "portrait": portrait(task, entry)}
