"""The command line: ``padecast demo | generate | compare | measure | calibrate | plan | lessons | lab run | report |
share | methods | models | cite``.

Exit codes: 0 done, 1 the run failed, 2 the command was wrong, 130 interrupted; nothing is half-written in any case.
"""

from __future__ import annotations

import typer

from padecast import __version__
from padecast.cli import calibrate, compare, demo, generate, lab, lessons, listing, measure, plan, report, share
from padecast.cli._options import with_plugins
from padecast.cli._shell import Command, Commands

app = typer.Typer(
    cls=Commands,
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


COMMANDS = (
    demo.demo,
    generate.generate,
    compare.compare,
    measure.measure,
    calibrate.calibrate,
    plan.plan,
    report.report,
    share.share,
    listing.methods,
    listing.models,
    listing.cite,
)
for command in COMMANDS:
    app.command(cls=Command)(with_plugins(command))
app.add_typer(lessons.app, name="lessons")
app.add_typer(lab.app, name="lab")

__all__ = ["app"]
