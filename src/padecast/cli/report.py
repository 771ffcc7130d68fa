"""``padecast report``: a folder of finished cells as one page."""

from __future__ import annotations

from pathlib import Path

import typer

from padecast import files
from padecast.cli import _options
from padecast.cli._files import check_writable, refuse_existing
from padecast.cli._shell import stdout
from padecast.lab import figures
from padecast.lab.html import page
from padecast.lab.shelf import Shelf


def report(
    folder: Path = typer.Argument(help="What padecast lab run wrote to."),
    out: Path | None = typer.Option(None, help="The page; report.html in the folder by default."),
    title: str = typer.Option("", help="Of the page; the experiment's name by default."),
    overwrite: bool = _options.OVERWRITE,
) -> None:
    """Write one HTML page with tables, pictures and images of an experiment; it loads nothing from anywhere."""
    path = out or folder / "report.html"
    documents = list(Shelf(folder).documents())
    if out is not None:
        refuse_existing(path.parent, [path.name], overwrite=overwrite)
    figures.check_installed()
    check_writable(path.parent)
    names = dict.fromkeys(document.get("experiment", "") for document in documents)
    text = page(documents, title or "; ".join(filter(None, names)))
    files.write(path, text)
    line = f"wrote {len(documents)} cells, {len(text.encode()) / 2**20:.1f} MB, to {path}"
    stdout().print(line, highlight=False, markup=False, soft_wrap=True)
