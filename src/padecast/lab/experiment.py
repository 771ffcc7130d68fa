"""What an experiment file asks for: pipelines, settings, methods, numbers of computed steps and seeds.

A file is TOML. Every key but ``pipelines`` and ``settings`` has a default::

    name = "digits, all methods and peers"
    methods = ["adaptive", "tc-pade"]
    peers = ["diffusers.magcache", "cache-dit.taylorseer"]
    nfe = [6, 8, 10]
    seeds = "20000-20063"
    development = "1000-1031"

    [[pipelines]]
    name = "digits"
    source = "digits"              # a demo model, a folder with a pipeline, or owner/name on the hub

    [[settings]]
    name = "hard"
    steps = 20
    guidance = 5.0
    shift = 3.0

    [[sweeps]]                     # one option turned, at no wanted number of computed steps
    methods = ["tc-pade"]
    option = "every"
    values = [2, 3, 4, 5, 6]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from padecast import files
from padecast._errors import DamagedFile, InvalidOption, PadecastError, check, unknown
from padecast.lab._tables import Numbers, of_key, of_table
from padecast.lab.calls import Sampling
from padecast.lab.measure import check_timed
from padecast.lab.pretrained import check_metrics
from padecast.lab.runner import Entry, Task
from padecast.lab.scores import check_known
from padecast.methods.plugins import load_plugin

BOUNDS = files.Bounds(size=2 * 2**20, values=100_000)
CELLS, CALLS = 20_000, 10_000
"""Pieces of work of an experiment, and steps, seeds per call and repetitions, at most."""


@dataclass(frozen=True)
class Source:
    """A pipeline.

    Args:
        name: For tables.
        source: A demo model such as ``digits``, a folder with a pipeline, or ``owner/name`` on the hub.
        device: Where to; an accelerator if there is one.
        dtype: Of the weights; as ``padecast compare`` chooses by default.
        scores: The demo model whose scores its images are given, if ``source`` does not name it.
    """

    name: str
    source: str
    device: str | None = None
    dtype: str | None = None
    scores: str = ""


@dataclass(frozen=True)
class Setting:
    """How pipelines are called.

    Args:
        name: For tables.
        steps: Sampler steps. Default 20.
        guidance: Guidance scale; the pipeline's own by default.
        shift: Of the schedule, for pipelines that take one.
        prompts: Seeds take them in turn.
        classes: Class labels; seeds take them in turn.
        arguments: Further arguments of the pipeline, such as ``{height = 512}``.
        pipelines: Names of the pipelines that are called so; all by default.
    """

    name: str
    steps: int = 20
    guidance: float | None = None
    shift: float | None = None
    prompts: tuple[str, ...] = ()
    classes: Numbers = ()
    arguments: dict[str, Any] = field(default_factory=dict)
    pipelines: tuple[str, ...] = ()

    @property
    def sampling(self) -> Sampling:
        """The call."""
        return Sampling(self.prompts, self.classes, self.guidance, self.shift, self.arguments)


@dataclass(frozen=True)
class Sweep:
    """One option of methods, turned.

    Args:
        methods: Registered methods, without that option.
        option: Such as ``every``, ``threshold`` or ``span``.
        values: What it is set to, as it would be written.
    """

    methods: tuple[str, ...]
    option: str
    values: tuple[str | int | float, ...]

    def write(self, method: str, value: str | int | float) -> str:
        """Return a method with the option.

        Example:
            >>> Sweep(("fora",), "every", (2, 3)).write("fora:warmup=1", 2)
            'fora:warmup=1,every=2'
        """
        return f"{method}{',' if ':' in method else ':'}{self.option}={value}"


@dataclass(frozen=True)
class Portraits:
    """What is recorded of a few seeds step by step: trajectories, errors, and how features resemble one another.

    Args:
        seeds: Of these, few; none by default.
        methods: By these; all by default.
        nfe: At so many computed steps; the first of the experiment's by default.
    """

    seeds: Numbers = ()
    methods: tuple[str, ...] = ()
    nfe: int | None = None


@dataclass(frozen=True)
class Experiment:
    """Everything that is to be measured; see the module for the file.

    Args:
        pipelines: Which models.
        settings: How they are called.
        name: The title of its report.
        methods: Registered methods, with options if need be.
        peers: Caches of other libraries; see :mod:`padecast.lab.peers`.
        calibrations: Calibration files, or ones that ship: ``digits:hard``. Each is measured on its own setting alone.
        nfe: Numbers of computed steps that all are tuned to; as they are written by default.
        seeds: Measured. Default 0 to 15.
        development: Tuned on; by default a batch from 10000.
        batch: Seeds per call. Default 8.
        repeats: How often every call is timed. Default 1.
        shown: Samples whose images are kept. Default 8.
        flops: Whether operations are counted. Default true.
        timed: Whether times are taken, for which the uncached run is repeated in every cell. Default true; ``"once"``
            takes them of uncached runs that all cells share, where a run is dear and the machine does nothing else.
        metrics: Metrics of published networks, such as ``lpips``; see :mod:`padecast.lab.pretrained`. None by default.
        sweeps: Options that are turned.
        portraits: What is recorded step by step.
        plugins: Python files or modules that register forecasters, policies or methods, run before all else.
    """

    pipelines: tuple[Source, ...]
    settings: tuple[Setting, ...]
    name: str = "experiment"
    methods: tuple[str, ...] = ()
    peers: tuple[str, ...] = ()
    calibrations: tuple[str, ...] = ()
    nfe: Numbers = ()
    seeds: Numbers = tuple(range(16))
    development: Numbers = ()
    batch: int = 8
    repeats: int = 1
    shown: int = 8
    flops: bool = True
    timed: bool | str = True
    metrics: tuple[str, ...] = ()
    sweeps: tuple[Sweep, ...] = ()
    portraits: Portraits = field(default_factory=Portraits)
    plugins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        with of_key("plugins"):
            for plugin in self.plugins:
                load_plugin(plugin)
        _check_names("pipelines", [source.name for source in self.pipelines])
        _check_names("settings", [setting.name for setting in self.settings])
        for name in ("repeats", "shown", "batch"):
            check(1 <= getattr(self, name) <= CALLS, name, getattr(self, name), f"1 to {CALLS}")
        check_timed(self.timed)
        check(self.size <= CELLS, "cells", self.size, f"at most {CELLS}: fewer methods, values or numbers of steps")
        for place, source in enumerate(self.pipelines):
            with of_key(f"pipelines[{place}]"):
                files.locate(source.source, "source")
                if source.scores:
                    check_known(source.scores)
        for place, calibration in enumerate(self.calibrations):
            with of_key(f"calibrations[{place}]"):
                files.locate(calibration, "calibration")
        with of_key("metrics"):
            check_metrics(self.metrics)
        for setting in self.settings:
            self._check(setting)
        for key in ("methods", "peers"):
            _check_entries(key, getattr(self, key))
        for sweep in self.sweeps:
            _check_entries("sweeps", [sweep.write(method, value) for method in sweep.methods for value in sweep.values])

    @property
    def size(self) -> int:
        """How many pieces of work it comes to at most."""
        each = 1 + len(self.methods) + len(self.peers) + len(self.calibrations)
        swept = sum(len(sweep.methods) * len(sweep.values) for sweep in self.sweeps)
        drawn = 1 + len(self.portraits.methods or (*self.methods, *self.peers))
        return len(self.pipelines) * len(self.settings) * (each * max(len(self.nfe), 1) + swept + drawn)

    def _check(self, setting: Setting) -> None:
        check(1 <= setting.steps <= CALLS, f"steps of {setting.name!r}", setting.steps, f"1 to {CALLS}")
        names = [source.name for source in self.pipelines]
        for name in setting.pipelines:
            if name not in names:
                raise unknown(f"pipeline in settings {setting.name!r}", name, names)
        for nfe in (*self.nfe, *([self.portraits.nfe] if self.portraits.nfe else [])):
            check(1 <= nfe <= setting.steps, "nfe", nfe, f"1 to the {setting.steps} steps of {setting.name!r}")
        with of_key("settings, seeds, development or batch"):
            Task(None, setting.sampling, setting.steps, self.seeds, self.batch, setting.name, self.development)


def read(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        InvalidOption: If it is no TOML, or a value has another type than its key; the message names the key.
        UnknownName: If a key, a method or a pipeline is unknown; the message names the nearest.
        MissingFile: If there is no such file; the message names the nearest.
    """
    try:
        document = files.read_toml(path, BOUNDS)
    except DamagedFile as error:
        raise InvalidOption(f"the experiment {error}") from error
    name = files.line(path.name)
    try:
        return of_table(Experiment, document, name)
    except PadecastError as error:
        raise error if name in str(error) else type(error)(f"{name}: {error}") from error


def _check_names(key: str, names: Sequence[str]) -> None:
    check(len(names) > 0, key, list(names), f"one table or more, written [[{key}]]")
    check(len(set(names)) == len(names), f"names of {key}", list(names), "each once")


def _check_entries(key: str, texts: Sequence[str]) -> None:
    for place, written in enumerate(texts):
        with of_key(f"{key}[{place}]"):
            Entry.of(written)
