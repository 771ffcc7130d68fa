"""What all commands share: how they speak, and how they end."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typer.core import TyperCommand, TyperGroup

from padecast._errors import (
    InvalidOption,
    InvalidPlan,
    PadecastError,
    PadecastWarning,
    UnknownName,
    UnwritableFile,
)
from padecast.files import is_full, line, visible

WRONG_COMMAND = (UnknownName, InvalidOption, InvalidPlan)
FAILED, WRONG, INTERRUPTED = 1, 2, 130
PLAIN_WIDTH = 120  # where nobody says how wide it is: a pipe, a log


class Failure(PadecastError):
    """A run that went wrong for a reason outside padecast, with what it said."""


class Screen(Console):
    """A console on which text is text: no markup, and what does not print as an escape."""

    def print(self, *objects: Any, **style: Any) -> None:
        """Print texts as they are written, and what else rich can draw."""
        texts = (Text(visible(part)) if isinstance(part, str) else part for part in objects)
        super().print(*texts, **{"highlight": False, **style})


class Plain:
    """Flags without a type in help texts: there is nothing to write after ``--json``."""

    def get_params(self, ctx: Any) -> Any:
        """Return the parameters of the command."""
        parameters = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        return parameters


class Command(Plain, TyperCommand):
    """One command."""


class Later(TyperCommand):
    """A command that is imported when it is used.

    Args:
        name: As it is typed.
        summary: What the list of commands says of it.
        load: Imports it.
    """

    def __init__(self, name: str, summary: str, load: Callable[[], Any]) -> None:
        super().__init__(name, help=summary)
        self._load = load

    @cached_property
    def command(self) -> Any:
        """The command itself."""
        return self._load()

    def make_context(self, *args: Any, **more: Any) -> Any:
        """Hand over to the command."""
        return self.command.make_context(*args, **more)

    @property
    def params(self) -> Any:
        """Its parameters."""
        return self.command.params

    @params.setter
    def params(self, value: Any) -> None:
        """Leave what it is made with: it has its own."""

    @property
    def commands(self) -> Any:
        """Its commands, if it is a group."""
        return self.command.commands


class Commands(Plain, TyperGroup):
    """The commands, with errors as messages instead of tracebacks, and an exit code for each kind."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            with say_warnings():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            ending("interrupted; nothing was written", INTERRUPTED)
        except WRONG_COMMAND as error:
            ending(str(error), WRONG)
        except (PadecastError, OSError) as error:
            ending(str(error), FAILED)


def stdout() -> Console:
    """The console for results."""
    return _console(stderr=False)


def stderr() -> Console:
    """The console for progress and errors: standard output may be read by a script."""
    return _console(stderr=True)


def ending(message: str, code: int) -> None:
    """Say why the command ends, and end it."""
    first, _, rest = message.partition("\n")
    console = stderr()
    console.print(f"padecast: {first}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    if rest:
        console.print(rest, markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(code)


@contextmanager
def pipeline_errors() -> Iterator[None]:
    """Turn what a pipeline raises into a message; a full disk is not its fault."""
    try:
        yield
    except PadecastError:
        raise
    except Exception as error:
        if is_full(error):
            raise UnwritableFile(
                f"the disk is full: {type(error).__name__}: {error}.\nMake room, and give the same command again."
            ) from error
        remedy = OUT_OF_MEMORY if type(error).__name__ == "OutOfMemoryError" else ""
        raise Failure(f"the pipeline stopped with {type(error).__name__}: {error}{remedy}") from error


OUT_OF_MEMORY = (
    "\nUsual cause: a model that is larger than the GPU. Keep weights in host memory: --offload model, or --offload "
    "group, which takes least; or draw less at once: --size 768x768, --frames 17, --batch 1"
)


@contextmanager
def say_warnings() -> Iterator[None]:
    """Say padecast's warnings in a line of their own, without a place in the source."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", PadecastWarning)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, PadecastWarning):
                stderr().print(f"note: {message}", style="yellow", markup=False, highlight=False, soft_wrap=True)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


@contextmanager
def progress(title: str, total: int, done: int = 0) -> Iterator[Callable[[str], None]]:
    """Show how far a piece of work is, and how long what is left of it takes.

    Args:
        title: What is done.
        total: Parts of it. It may be more than there turn out to be: at the end all are done.
        done: Parts that were done before.

    Yields:
        What is called with a word on every part that is done.
    """
    console = stderr()
    if not console.is_terminal:
        with _lines(console, line(title), total, done) as tick:
            yield tick
        return
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, transient=True) as bar:
        task = bar.add_task(line(title), total=total, completed=min(done, total))
        yield lambda word: bar.update(task, advance=1, description=line(f"{title} {word}"))
        bar.update(task, completed=total)


EVERY = 30.0
"""Seconds between two lines about a piece of work, where there is no terminal to draw a bar on."""


@contextmanager
def _lines(console: Console, title: str, total: int, done: int) -> Iterator[Callable[[str], None]]:
    """Say from time to time how far a piece of work is: a log is read while it grows."""
    console.print(f"{title} …")
    began = last = clock()
    count = done

    def tick(word: str) -> None:
        nonlocal count, last
        count, now = count + 1, clock()
        if now - last >= EVERY:
            last = now
            left = (now - began) / (count - done) * max(total - count, 0)
            console.print(f"{title}: {min(count, total)} of {total}, about {say_duration(left)} left ({line(word)})")

    yield tick


clock = time.monotonic


def say_duration(seconds: float) -> str:
    """Return a time as people say it.

    Example:
        >>> say_duration(7.2), say_duration(700), say_duration(20_000)
        ('10 seconds', '12 minutes', '5.6 hours')
    """
    if seconds < 90:
        return f"{max(-(-seconds // 10) * 10, 10):.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _console(*, stderr: bool) -> Console:
    console = Screen(stderr=stderr)
    return console if console.is_terminal else Screen(stderr=stderr, width=PLAIN_WIDTH)
