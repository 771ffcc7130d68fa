"""Result files of parts: one a part, written anew after every item, so that a run that ends early can go on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from padecast import files
from padecast.report import finite

Document = dict[str, Any]


def read_part(folder: Path, name: str) -> Document:
    """Return what is known of a part; nothing yet if it has no file."""
    path = folder / f"{name}.json"
    if not path.exists():
        return {"kind": "padecast gpu", "part": name, "items": {}}
    document: Document = files.read_json(path)
    return document


def write_part(folder: Path, document: Document) -> None:
    """Write what is known of a part."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(finite(hide_folders(document)), indent=1)
    files.write(folder / f"{document['part']}.json", text + "\n")


def list_left(document: Document, names: Iterable[str], device: str) -> list[str]:
    """Return the items that are still to be measured: those never tried first, then those that failed.

    Args:
        document: What is known of the part.
        names: Of all its items.
        device: In words. What was measured on another one is measured again.
    """
    items, fresh, failed = document["items"], [], []
    for name in names:
        item = items.get(name)
        if item is None or item["device"] != device:
            fresh.append(name)
        elif "error" in item:
            failed.append(name)
    return fresh + failed


def hide_folders(value: Any) -> Any:
    """Return a document in which files of this machine are named without their folders.

    Example:
        >>> hide_folders({"error": 'File "/opt/lib/torch/cuda.py", 1 / 2 of a/b'})
        {'error': 'File "cuda.py", 1 / 2 of a/b'}
    """
    if isinstance(value, dict):
        return {hide_folders(key): hide_folders(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [hide_folders(each) for each in value]
    return FOLDERS.sub("", value) if isinstance(value, str) else value


FOLDERS = re.compile(r"(?<![\w.:/*<>~)\]}-])/(?!/)(?:[\w.+-]+/)*(?=[\w.+-])")
"""What leads from the root of a machine to a file."""
