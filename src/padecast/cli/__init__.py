"""The command line: ``padecast demo | generate | compare | measure | calibrate | plan | lessons | lab run | report |
share | methods | models | cite``.

Exit codes: 0 done, 1 the run failed, 2 the command was wrong, 130 interrupted; nothing is half-written in any case.
"""

from __future__ import annotations

import importlib
from functools import partial
from typing import Any

import typer

from padecast import __version__
from padecast.cli._shell import Command, Commands, Later

COMMANDS = {
    "demo": "Draw captions uncached, with fewer steps and with seven methods, the default first: "
    "table, pictures, numbers.",
    "generate": "Draw images with a pipeline, forecasting some of its steps, and report what the run did.",
    "compare": "Compare methods on the same seeds with the uncached run, and always with fewer sampler steps.",
    "measure": "Measure your own checkpoint: how like real models it is, methods, other caches; a page and a file to "
    "share.",
    "calibrate": "Find the best plan and weights for every number of computed steps, once per model and sampler.",
    "plan": "Show the trade-off that a calibration has found, or the plan that fulfils one wish.",
    "report": "Write one HTML page with tables, pictures and images of an experiment; it loads nothing from anywhere.",
    "share": "Send a calibration or a lesson to a repository of the Hugging Face Hub.",
    "methods": "List the methods: when they compute, with what they forecast, and where they come from.",
    "models": "List the model classes that are described, their spans, where they occur and on what they are tested.",
    "cite": "Print whom to cite for a method, as BibTeX.",
    "lessons": "See, copy and remove what runs by the method learned have taught.",
    "lab": "Measure an experiment: pipelines, settings, methods, other caches.",
}
"""Every command and what its help begins with: help is there before anything that commands need is imported."""
LISTS = ("methods", "models", "cite")
GROUPS = ("lessons", "lab")


def load(name: str) -> Any:
    """Import a command."""
    module = importlib.import_module(f"padecast.cli.{'listing' if name in LISTS else name}")
    if name in GROUPS:
        return typer.main.get_command(module.app)
    from padecast.cli._options import with_plugins

    single = typer.Typer(add_completion=False)
    single.command(name, cls=Command)(with_plugins(getattr(module, name)))
    return typer.main.get_command(single)


class Everything(Commands):
    """All commands, each imported when it is used."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, summary in COMMANDS.items():
            self.add_command(Later(name, summary, partial(load, name)))


app = typer.Typer(
    cls=Everything,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    help="Faster diffusion transformers: forecast what the block stack would have added, instead of computing it.",
    epilog='A method is a name with options: "tc-pade", "tc-pade:every=3". See: padecast methods',
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"padecast {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Entry point of every command; the options of padecast itself."""


__all__ = ["app"]
