"""What the benchmark scripts share: the demo models, two settings of digits, and where results go."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from padecast import files, lab, zoo
from padecast.forecasters import TCPade
from padecast.methods import Method
from padecast.policies import Interval
from padecast.report import finite

RESULTS = Path(__file__).parent / "results"
SETTINGS = {"hard": {"guidance": 5.0, "shift": 3.0}, "easy": {"guidance": 3.0, "shift": 1.0}}
CALLS: dict[str, dict[str, Any]] = {
    "scenes": {"guidance": 3.5, "arguments": {"max_sequence_length": 32}},
    "motion": {
        "guidance": 3.0,
        "arguments": {"height": 64, "width": 64, "num_frames": 17, "max_sequence_length": 32},
    },
}
"""How demo models that draw captions are called."""
DEVELOPMENT = tuple(range(1000, 1032))
"""Seeds that options were chosen on: never among the seeds that are measured."""
TEST = tuple(range(20_000, 20_064))


def task(setting: str, seeds: tuple[int, ...] = TEST, batch: int = 16, steps: int = 20) -> lab.Task:
    """Return the demo model's task in one of the two settings, on CUDA where there is one."""
    pipe = zoo.load("digits")
    if torch.cuda.is_available():
        pipe = pipe.to("cuda")
    call = lab.Sampling(**SETTINGS[setting])
    return lab.Task(pipe, call, steps, seeds, batch, name=f"digits, {setting}", development=DEVELOPMENT)


def captioned(
    model: str, steps: int, seeds: tuple[int, ...] = TEST, batch: int = 16, *, held_out: bool = False
) -> lab.Task:
    """Return the task of a demo model that draws captions: of combinations that its training saw.

    With ``held_out``, of those that it never saw, none twice: of scenes the same captions as in benchmarks/experiments.
    """
    grammar = importlib.import_module(f"padecast.zoo.{model}.grammar")
    generator = torch.Generator().manual_seed(20_000 if held_out else 30_000)
    drawn = [grammar.draw(generator, held_out=held_out).caption for _ in range(1024 if held_out else 64)]
    captions = tuple(dict.fromkeys(drawn))[:128] if held_out else tuple(drawn)
    pipe = zoo.load(model)
    if torch.cuda.is_available():
        pipe = pipe.to("cuda")
    call = lab.Sampling(captions, **CALLS[model])
    return lab.Task(pipe, call, steps, seeds, batch, name=f"{model}, {steps}", development=DEVELOPMENT)


def even(every: int, wanted: int, name: str = "") -> lab.Entry:
    """Return the forecaster of tc-pade on every N-th step and the last."""
    plan = Interval(every=every)
    method = Method(name or f"tc-pade:every={every}", plan, TCPade(), "tc-pade's forecaster on even plans")
    return lab.Entry.of(method, wanted=wanted)


def write(name: str, document: dict[str, Any]) -> Path:
    """Write a result file."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / name
    files.write(path, json.dumps(finite(document), indent=1) + "\n")
    print(f"written: benchmarks/results/{name}", file=sys.stderr)
    return path


@contextmanager
def progress(total: int, title: str) -> Iterator[Callable[..., None]]:
    """Show how many of the calls are made."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        row = bar.add_task(title, total=total)
        yield lambda name, amount=1: bar.update(row, advance=amount, description=f"{title}: {name}")
