"""What the studies share: the demo models in their settings, result files, and pages made of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import padecast
from padecast import calibration, files, lab, zoo
from padecast.calibration.provenance import Provenance
from padecast.forecasters import TCPade
from padecast.methods import Method
from padecast.policies import Interval
from padecast.report import finite

ROOT = Path(__file__).parent.parent
DOCS, README, RESULTS = ROOT / "docs", ROOT / "README.md", Path(__file__).parent / "results"
Document = dict[str, Any]

# Runs -----------------------------------------------------------------------------------------------------------------

SETTINGS = {"hard": {"guidance": 5.0, "shift": 3.0}, "easy": {"guidance": 3.0, "shift": 1.0}}
CALLS: dict[str, dict[str, Any]] = {
    "scenes": {"guidance": 3.5, "arguments": {"max_sequence_length": 32}},
    "motion": {"guidance": 3.0, "arguments": {"height": 64, "width": 64, "num_frames": 17, "max_sequence_length": 32}},
}
"""How demo models that draw captions are called."""
DEVELOPMENT = tuple(range(1000, 1032))
"""Seeds that options were chosen on: never among the seeds that are measured."""
TEST = tuple(range(20_000, 20_064))


def task(setting: str, seeds: tuple[int, ...] = TEST, batch: int = 16, steps: int = 20) -> lab.Task:
    """Return the task of digits in one of the two settings, on CUDA where there is one."""
    call = lab.Sampling(**SETTINGS[setting])
    return lab.Task(load("digits"), call, steps, seeds, batch, name=f"digits, {setting}", development=DEVELOPMENT)


def task_of_captions(
    model: str, steps: int, seeds: tuple[int, ...] = TEST, batch: int = 16, *, held_out: bool = False
) -> lab.Task:
    """Return the task of a demo model that draws captions: of combinations that its training saw.

    With ``held_out``, of those that it never saw, none twice: of scenes the same captions as in benchmarks/experiments.
    """
    drawn = captions(model, 1024, held_out=True) if held_out else captions(model, 64, held_out=False)
    prompts = tuple(dict.fromkeys(drawn))[:128] if held_out else drawn
    call = lab.Sampling(prompts, **CALLS[model])
    return lab.Task(load(model), call, steps, seeds, batch, name=f"{model}, {steps}", development=DEVELOPMENT)


def captions(model: str, count: int, *, held_out: bool) -> tuple[str, ...]:
    """Draw captions of combinations that a model's training never saw, or of those that it saw."""
    grammar = importlib.import_module(f"padecast.zoo.{model}.grammar")
    generator = torch.Generator().manual_seed(20_000 if held_out else 30_000)
    return tuple(grammar.draw(generator, held_out=held_out).caption for _ in range(count))


def load(model: str) -> Any:
    """Return a demo pipeline, on CUDA where there is one."""
    pipe = zoo.load(model)
    return pipe.to("cuda") if torch.cuda.is_available() else pipe


def hush(pipe: Any) -> Any:
    """Return a pipeline that shows no progress bar."""
    pipe.set_progress_bar_config(disable=True)
    return pipe


def even(every: int, nfe: int, name: str = "") -> lab.Entry:
    """Return the forecaster of tc-pade on every N-th step and the last."""
    plan = Interval(every=every)
    method = Method(name or f"tc-pade:every={every}", plan, TCPade(), "tc-pade's forecaster on even plans")
    return lab.Entry.of(method, wanted=nfe)


def calibrate(
    work: lab.Task,
    budgets: Sequence[int],
    effort: str | calibration.Effort,
    *,
    branches: int = 2,
    resume: Path | None = None,
) -> calibration.Calibration:
    """Calibrate on the seeds of a task, and show how far it is."""
    units = int(calibration.price(effort, budgets, work.seeds, work.steps, branches))
    with progress(units, f"{work.name}, {len(work.seeds)} samples") as tell:
        return padecast.calibrate(
            work.pipe,
            lambda pipe, seeds: work.call(pipe, seeds, num_inference_steps=work.steps),
            budgets,
            work.seeds,
            batch=work.batch,
            name=work.name,
            effort=effort,
            resume=resume,
            progress=lambda what, steps: tell(what, steps),
        )


@contextmanager
def progress(total: int, title: str) -> Iterator[Callable[..., None]]:
    """Show how many of the calls are made."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns) as bar:
        row = bar.add_task(title, total=total)
        yield lambda name, amount=1: bar.update(row, advance=amount, description=f"{title}: {name}")


# Result files ---------------------------------------------------------------------------------------------------------

MOVED = {
    "plans.py": "benchmarks.plans.measure",
    "demo_models.py": "benchmarks.models.demos",
    "world_parts.py": "benchmarks.worlds.measure",
    "matched.py": "benchmarks.worlds.matched",
}
"""Scripts by the names that result files of before know them by, and their names now."""


def read(name: str) -> Document:
    """Read a result file."""
    return files.read_json(RESULTS / name)


def write(name: str, document: Document) -> None:
    """Write a result file."""
    RESULTS.mkdir(exist_ok=True)
    files.write(RESULTS / name, json.dumps(finite(document), indent=1) + "\n")
    print(f"written: benchmarks/results/{name}", file=sys.stderr)


def provenance(pipe: Any = None) -> Document:
    """Gather where a measurement comes from, with the command that begins it again."""
    place = dataclasses.asdict(Provenance.of(pipe))
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name.startswith("benchmarks."):
        place["command"] = " ".join(["python", "-m", spec.name, *place["command"].split()[1:]])
    return place


def command(document: Document) -> str:
    """Write the command that makes a result file now, whatever the script was called that made it."""
    script, *arguments = document["provenance"]["command"].split()
    if script == "python":
        return str(document["provenance"]["command"])
    return " ".join(["python", "-m", MOVED[script], *arguments])


# Pages ----------------------------------------------------------------------------------------------------------------


def table(head: Sequence[str], rows: Iterable[Sequence[str]], rule: str = "") -> str:
    """Write a Markdown table; ``rule`` is the line under its head, for words in every column if not given."""
    rule = rule or f"| {' | '.join(['---'] * len(head))} |"
    return "\n".join([f"| {' | '.join(head)} |", rule, *(f"| {' | '.join(row)} |" for row in rows)])


def align(count: int) -> str:
    """Write the line under a table's head: a column of words, and so many of numbers."""
    return "|---|" + "---:|" * count


def unwrap(text: str) -> str:
    """Join the lines of every paragraph; tables, lists, headings, pictures and comments stay as they are.

    Example:
        >>> unwrap("one\\ntwo\\n\\n| three |\\n| four |\\n")
        'one two\\n\\n| three |\\n| four |\\n'
    """
    return re.sub(r"(?m)^(?![|#!<-])(.+)\n(?=[^|#!<\n-])", r"\1 ", text)


def split(rows: Iterable[Document], key: str) -> dict[Any, list[Document]]:
    """Return rows by the value of a key, in the order in which values come first."""
    parts: dict[Any, list[Document]] = {}
    for row in rows:
        parts.setdefault(row[key], []).append(row)
    return parts


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["wrap"] = lambda text: "\n".join(textwrap.wrap(text, 118, break_on_hyphens=False)) + "\n"
    environment.filters["unwrap"] = unwrap
    environment.filters["fixed"] = lambda value, digits=1: f"{value:.{digits}f}"
    environment.filters["signed"] = lambda value, digits=1: f"{value:+.{digits}f}"
    environment.filters["percent"] = lambda value, digits=1: f"{value:.{digits}%}"
    environment.filters["short"] = lambda value: f"{value:g}"
    environment.filters["mega"] = lambda size: f"{size / 1e6:.2f} MB"
    environment.filters["mean"] = fmean
    environment.filters["split"] = split
    environment.globals["command"] = command
    return environment


def render(template: str, **values: Any) -> str:
    """Fill in a template, named from this folder: ``plans/page.md.jinja``; it ends with one line end."""
    return _environment().get_template(template).render(**values).rstrip() + "\n"


def insert(page: Path, script: str, text: str) -> str:
    """Return a page written by hand, with a table between its marks: ``<!-- table: SCRIPT -->`` and ``<!-- end``."""
    before, mark, rest = page.read_text(encoding="utf-8").partition(f"<!-- table: {script} -->\n")
    if not mark:
        raise SystemExit(f"{page.name} has no mark <!-- table: {script} -->")
    _, end, after = rest.partition("<!-- end")
    return before + mark + text + end + after


def publish(pages: dict[Path, str], *, check: bool) -> None:
    """Write pages; or end with an error if one of them is not what the result files say."""
    for path, text in pages.items():
        if not check:
            files.write(path, text)
            print(f"written: {path.name}", file=sys.stderr)
        elif path.read_text(encoding="utf-8") != text:
            raise SystemExit(f"{path.name} is not what the result files say: run the script that writes it")
