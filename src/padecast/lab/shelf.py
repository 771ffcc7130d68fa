"""A folder of finished cells: every one complete or not there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from padecast._errors import InvalidOption
from padecast.lab.cells import KIND, SCHEMA, Cell


@dataclass(frozen=True)
class Shelf:
    """A folder of finished cells, one JSON file each.

    Args:
        folder: It is made when the first cell is put there.
    """

    folder: Path

    def holds(self, cell: Cell) -> bool:
        """Whether this very cell, with all that it depends on, is there."""
        path = self.folder / cell.file
        return path.is_file() and self._read(path).get("cell") == cell.configuration

    def put(self, cell: Cell, document: dict[str, Any]) -> Path:
        """Write a finished cell at once, and return its file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / cell.file
        half = path.with_suffix(f".{os.getpid()}.half")
        try:
            half.write_text(json.dumps(document, allow_nan=False, ensure_ascii=False) + "\n", encoding="utf-8")
            os.replace(half, path)
        finally:
            half.unlink(missing_ok=True)
        return path

    def documents(self) -> Iterator[dict[str, Any]]:
        """Yield the cells that are there, by file name.

        Raises:
            InvalidOption: If there is no such folder, or none is there.
        """
        if not self.folder.is_dir():
            raise InvalidOption(
                f"there is no folder {self.folder}.\nMake it: padecast lab run FILE --out {self.folder}"
            )
        found = False
        for path in sorted(self.folder.glob("*.json")):
            document = self._read(path)
            if document.get("kind") == KIND:
                found = True
                yield document
        if not found:
            raise InvalidOption(
                f"no finished cell is in {self.folder}.\nFill it: padecast lab run FILE --out {self.folder}"
            )

    def _read(self, path: Path) -> dict[str, Any]:
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise InvalidOption(f"{path} is damaged: {error}.\nRemove it, and run the experiment again.") from error
        if not isinstance(document, dict) or document.get("kind") != KIND:
            return {}
        if document.get("schema") != SCHEMA:
            raise InvalidOption(
                f"{path} was written in format {document.get('schema')}, and this padecast reads {SCHEMA}.\n"
                "Run the experiment again into another folder."
            )
        return document
