"""Whom to cite for a method, as BibTeX."""

from __future__ import annotations

from pathlib import Path

from padecast import files
from padecast.methods import look_up, split


def read(path: Path) -> dict[str, str]:
    """Return the entries of a file of BibTeX by the word in the comment above each.

    Args:
        path: The file: entries apart by an empty line, each under a line ``% word``.
    """
    pieces = files.read_text(path).strip().split("\n\n")
    entries = [piece.removeprefix("% ").partition("\n") for piece in pieces]
    return {word: entry for word, _, entry in entries if entry}


BIBTEX = read(Path(__file__).with_suffix(".bib"))
"""The entries that ship, by the words that methods cite them by."""


def cite(name: str) -> str:
    """Return the BibTeX entries of a method, padecast's own last.

    Args:
        name: A registered method, with options or without.

    Raises:
        UnknownName: If there is no such method.

    Example:
        >>> cite("spectrum").splitlines()[0]
        '@inproceedings{han2026spectrum,'
    """
    written, _ = split(name)
    return "\n\n".join(BIBTEX[key] for key in dict.fromkeys((*look_up(written).cites, "padecast")))
