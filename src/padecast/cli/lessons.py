"""``padecast lessons``: what runs of this user have taught, and what is expected of it."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import typer

from padecast import files
from padecast._errors import InvalidOption, check
from padecast.cli import _options
from padecast.cli._files import as_json, check_writable, refuse_existing
from padecast.cli._shell import FAILED, Command, Failure, ending, stderr, stdout
from padecast.cli._tables import new_table
from padecast.files.hub.address import SCHEME
from padecast.lab.lesson import draw_lesson, propose
from padecast.lessons import Entry, Lesson, Library, Look
from padecast.lessons.display import count, lines, name, range_of

app = typer.Typer(no_args_is_help=True, help="See, copy and remove what runs by the method learned have taught.")

FOLDER = typer.Option(
    None, "--lessons", help="Folder of lessons; that of this user, or PADECAST_LESSONS, unless given."
)
KEY = typer.Argument(help="Of a lesson, or how it begins: see padecast lessons list.")
JSON = typer.Option(False, "--json", help="Print JSON for scripts.")
COLUMNS = ("key", "model", "pipeline", ">guidance", ">runs", ">samples", "steps", "noise levels", ">size", ">age")
SHORT, WIDE = 8, 170
"""Characters of a key that tables show, and columns from which the path of a file stands in the table too."""


@app.callback()
def lessons() -> None:
    """See, copy and remove what runs by the method learned have taught."""


@app.command("list", cls=Command)
def list_lessons(folder: Path | None = FOLDER, json: bool = JSON) -> None:
    """List what was learnt: of which model, in which setting, from how many runs."""
    library = _open(folder)
    rows = [_row(entry) for entry in library.list()]
    if json:
        return typer.echo(as_json(rows))
    if not rows:
        return _say(f"no lessons in {library.folder} yet: the first run by --method learned teaches one")
    console, sound = stdout(), [row for row in rows if not row["fact"]]
    wide = console.width >= WIDE
    table = new_table(*COLUMNS, *(("path",) if wide else ()))
    for row in sound:
        numbers = (f"{row['runs']}", f"{row['samples']}")
        seen = [[look[part] for look in row["looks"]] for part in ("steps", "levels")]
        table.add_row(
            row["key"][:SHORT],
            row["model"],
            row["pipeline"] or "–",
            "–" if row["guidance"] is None else f"{row['guidance']:g}",
            *numbers,
            *(", ".join(map(str, dict.fromkeys(part))) for part in seen),
            f"{row['bytes'] / 1024:.1f} kB",
            _say_age(row["age"]),
            *((row["path"],) if wide else ()),
        )
    if sound:
        console.print(table)
    for row in rows:
        if row["fact"]:
            console.print(f"{row['path']} cannot be used: {row['fact']}", style="yellow", soft_wrap=True)
    console.print(f"in {library.folder}; more of one: padecast lessons show KEY", style="dim", soft_wrap=True)


@app.command("show", cls=Command)
def show(
    key: str = KEY,
    folder: Path | None = FOLDER,
    steps: int | None = typer.Option(None, min=1, help="Of which grid; the one of most samples unless given."),
    budgets: list[str] = typer.Option([], "--budgets", help="Computed steps, such as 6,8,10; 20 to 60 % if none."),
    out: Path | None = typer.Option(None, help="A PNG to write: correlations of steps, and plans on the same axis."),
    json: bool = JSON,
    overwrite: bool = _options.OVERWRITE,
) -> None:
    """Show a lesson: what it saw, and plans with what is expected of them, without a run."""
    lesson = _open(folder).show(key)
    look = _select(lesson, steps)
    wanted = _options.numbers(budgets, "budgets") if budgets else ()
    check(not wanted or 1 <= min(wanted) <= max(wanted) <= look.steps, "--budgets", list(wanted), f"1 to {look.steps}")
    if out is not None:
        check(out.suffix == ".png", "--out", str(out), "a file name that ends in .png")
        refuse_existing(out.parent, [out.name], overwrite=overwrite)
        check_writable(out.parent)
    proposals = propose(lesson, look, wanted)
    if out is not None:
        draw_lesson(lesson, look, out, proposals=proposals)
    rows = [
        {
            "computed": computed,
            "speedup": look.steps / computed,
            "decibels": proposal.decibels,
            "plan": proposal.plan.steps,
        }
        for computed, proposal in proposals.items()
    ]
    if json:
        typer.echo(as_json({**_described(lesson), "steps": look.steps, "plans": rows}))
    else:
        _show(lesson, look, rows)
    if out is not None:
        stderr().print(f"wrote {out}", soft_wrap=True)


@app.command("export", cls=Command)
def export(
    key: str = KEY,
    file: Path = typer.Argument(help="A file to write, for another machine."),
    folder: Path | None = FOLDER,
    overwrite: bool = _options.OVERWRITE,
) -> None:
    """Write a lesson to a file, to take it elsewhere; it holds no image and no prompt."""
    lesson = _open(folder).show(key)
    refuse_existing(file.parent, [file.name], overwrite=overwrite)
    check_writable(file.parent)
    lesson.save(file)
    _say(f"wrote the lesson of {name(lesson)} to {file}")


@app.command("import", cls=Command)
def take(
    file: str = typer.Argument(help="What padecast lessons export wrote, or hub:ORG/NAME."),
    folder: Path | None = FOLDER,
) -> None:
    """Add a lesson from a file to what is known, with what is there already of the same model and setting.

    Runs that are known already are not counted twice.
    """
    library = _open(folder)
    source = Lesson.from_pretrained(file) if file.startswith(SCHEME) else Lesson.load(file)
    before = library.get(source.identity)
    lesson = library.take(source)
    if any(entry.path is None for entry in library.list()):  # why, was said in a warning
        raise Failure(f"the lesson of {name(lesson)} was not kept: {library.folder} cannot be written.")
    if before is not None and (before.runs, before.gains) == (lesson.runs, lesson.gains):
        _say(f"nothing was added: the lesson of {name(lesson)} has the {count(lesson.runs, 'run')} of the file already")
    else:
        _say(f"the lesson of {name(lesson)} has {count(lesson.runs, 'run')} with {count(lesson.samples, 'sample')} now")


@app.command("remove", cls=Command)
def remove(
    key: str = KEY,
    folder: Path | None = FOLDER,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
) -> None:
    """Remove a lesson; the next run of its model in its setting teaches anew."""
    library = _open(folder)
    entry = library.find(key)
    whose = "a file that cannot be used" if entry.lesson is None else f"the lesson of {name(entry.lesson)}, {entry}"
    if not yes and not _confirm(f"remove {files.line(entry.key, 100)}, {whose}?"):
        ending("nothing was removed", FAILED)
    library.remove(entry.key)
    _say(f"removed {files.line(entry.path or entry.key, 400)}")


@app.command("path", cls=Command)
def path(folder: Path | None = FOLDER) -> None:
    """Print the folder where lessons are."""
    typer.echo(str(_open(folder).folder))


def _open(folder: Path | None) -> Library:
    """Return the library of a folder, or of the user.

    Raises:
        InvalidOption: If it is a file.
    """
    library = Library(True if folder is None else folder)
    if library.folder is not None and library.folder.exists() and not library.folder.is_dir():
        raise InvalidOption(f"{library.folder} is a file, and lessons are in a folder.\nName another: --lessons FOLDER")
    return library


def _confirm(question: str) -> bool:
    """Ask on a terminal, or read the answer that was piped in.

    Raises:
        InvalidOption: If nobody answers.
    """
    try:
        return typer.confirm(question, err=True)
    except typer.Abort as error:
        raise InvalidOption("nobody answered whether to remove it.\nSay so beforehand: --yes") from error


def _select(lesson: Lesson, steps: int | None) -> Look:
    """Return the look at a grid of so many steps, or the one of most samples.

    Raises:
        InvalidOption: If there is none.
    """
    looks = [look for look in lesson.looks if steps is None or look.steps == steps]
    if not looks:
        seen = ", ".join(str(look.steps) for look in lesson.looks)
        wish = "it has no look" if steps is None else f"--steps {steps}: it saw runs of {seen} steps"
        raise InvalidOption(f"the lesson of {name(lesson)} cannot be shown: {wish}.\nSee: padecast lessons list")
    return max(looks, key=lambda look: look.samples)


def _described(lesson: Lesson) -> dict[str, Any]:
    """Return what a lesson says of itself, as plain data without its matrices."""
    looks = [
        {
            "steps": look.steps,
            "levels": range_of(look),
            "runs": look.runs,
            "samples": look.samples,
            "branches": list(look.grams),
        }
        for look in lesson.looks
    ]
    identity = dataclasses.asdict(lesson.identity)
    return {
        "key": lesson.identity.key,
        **identity,
        "runs": lesson.runs,
        "samples": lesson.samples,
        "looks": looks,
        "gains": None if lesson.gains is None else dataclasses.asdict(lesson.gains),
    }


def _row(entry: Entry) -> dict[str, Any]:
    size, age = 0, 0.0
    if entry.path is not None:
        try:
            stat = entry.path.stat()
            size, age = stat.st_size, max(time.time() - stat.st_mtime, 0.0)
        except OSError:
            pass
    where = {"key": entry.key, "path": str(entry.path), "bytes": size, "age": age, "fact": entry.fact}
    return {**({} if entry.lesson is None else _described(entry.lesson)), **where}


def _say_age(seconds: float) -> str:
    """Return an age as people say it.

    Example:
        >>> _say_age(30), _say_age(7200), _say_age(90_000)
        ('now', '2 h', '1 d')
    """
    if seconds < 60:
        return "now"
    for unit, length in (("d", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return ""


def _show(lesson: Lesson, look: Look, rows: list[dict[str, Any]]) -> None:
    console, identity = stdout(), lesson.identity
    console.print(f"lesson {identity.key} of {name(lesson)}", style="bold", soft_wrap=True)
    parts = {
        "pipeline": identity.pipeline,
        "adapters": ", ".join(f"{adapter} at {scale:g}" for adapter, scale in identity.adapters),
        "quantization": identity.quantization,
        "span": identity.span,
        "predicts": identity.prediction,
    }
    for part, value in parts.items():
        if value:
            console.print(f"{part}: {files.line(value, 400)}", soft_wrap=True)
    for text in lines(lesson):
        console.print(text, soft_wrap=True)
    table = new_table(">computed", ">speedup", ">expected", "plan", title=f"plans at {look.steps} steps")
    for row in rows:
        table.add_row(str(row["computed"]), f"{row['speedup']:.2f}x", f"{row['decibels']:.0f} dB", row["plan"])
    console.print(table)
    note = (
        "Expected PSNR is an estimate, whose constants are those of the demo models. Speedup: of the denoiser at best."
    )
    console.print(note, style="dim", soft_wrap=True)


def _say(text: str) -> None:
    stderr().print(text, soft_wrap=True)
