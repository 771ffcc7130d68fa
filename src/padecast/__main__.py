"""The command ``padecast``, also ``python -m padecast``: the command line, or how to install it."""

from __future__ import annotations

import sys

from padecast._distribution import NAME
from padecast._errors import missing

SCREEN = ("typer", "click", "rich")  # what the command line needs beside the library


def main() -> None:
    """Run the command line."""
    try:
        from padecast.cli import app
    except ModuleNotFoundError as error:
        if error.name == "padecast.cli":
            sys.exit(f"padecast: the command line comes with another distribution: pip install {NAME}")
        if error.name in SCREEN:
            sys.exit(f"padecast: {missing(error.name, NAME, 'the command line')}")
        raise
    app(prog_name="padecast")


if __name__ == "__main__":
    main()
