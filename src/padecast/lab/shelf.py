"""A folder of finished cells: every one complete or not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from padecast import files
from padecast._errors import DamagedFile, InvalidOption
from padecast.lab.cells import KIND, SCHEMA, Cell
from padecast.lab.schema import reject, validate

BOUNDS = files.Bounds(size=40 * 2**20, values=500_000, text=32 * 2**20)
"""Of the file of a cell, most of which are its images."""


@dataclass(frozen=True)
class Shelf:
    """A folder of finished cells, one JSON file each.

    Args:
        folder: It is made when the first cell is put there.
        title: Of the experiment that cells are put there for.
    """

    folder: Path
    title: str = ""

    def holds(self, cell: Cell) -> bool:
        """Whether this very cell, with all that it depends on, is there."""
        path = self.folder / cell.file
        return path.is_file() and self._read(path).get("cell") == cell.configuration

    def put(self, cell: Cell, document: dict[str, Any]) -> Path:
        """Write a finished cell at once, and return its file.

        Raises:
            UnwritableFile: If the disk is full, or the file cannot be written for another reason.
        """
        titled = {**document, "experiment": self.title} if self.title else document
        text = json.dumps(titled, allow_nan=False, ensure_ascii=False) + "\n"
        return files.write(self.folder / cell.file, text)

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the cells that are there, by file name, each with the ``file`` that it comes from.

        Raises:
            InvalidOption: If there is no such folder, none is there, or one is damaged; the message names its file.
        """
        if not self.folder.is_dir():
            raise InvalidOption(
                f"there is no folder {self.folder}.\nMake it: padecast lab run FILE --out {self.folder}"
            )
        has_cells = False
        for path in sorted(self.folder.glob("*.json")):
            document = self._read(path)
            if document:
                has_cells = True
                validate(path, document)
                yield {**document, "file": str(path)}
        if not has_cells:
            raise InvalidOption(
                f"no finished cell is in {self.folder}.\nFill it: padecast lab run FILE --out {self.folder}"
            )

    def _read(self, path: Path) -> dict[str, Any]:
        """Return the document of a cell; an empty one of another file."""
        try:
            document = files.read_json(path, BOUNDS)
        except DamagedFile as error:
            raise reject(path, error.fact) from error
        if not isinstance(document, dict) or document.get("kind") != KIND:
            return {}
        if document.get("schema") != SCHEMA:
            raise InvalidOption(
                f"{files.line(path, 400)} was written in format {files.line(repr(document.get('schema')), 60)}, "
                f"and this padecast reads {SCHEMA}.\nRun the experiment again into another folder."
            )
        return document
