"""Folders that results go to: complete or not at all."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from padecast._errors import InvalidOption
from padecast.report import finite

RESULTS = "results.json"


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield a folder to write to, whose files move into ``out`` once all of them are written."""
    beside = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=".padecast-", dir=beside) as folder:
        yield Path(folder)
        out.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(folder).iterdir()):
            os.replace(file, out / file.name)


def refuse_existing(out: Path, names: Iterable[str], *, overwrite: bool) -> None:
    """Refuse to write over files of these names.

    Raises:
        InvalidOption: If one is there already, or ``out`` is a file.
    """
    _refuse_file(out)
    there = [name for name in names if (out / name).exists()]
    if there and not overwrite:
        more = f" and {len(there) - 1} more of these files" if there[1:] else ""
        raise InvalidOption(f"{out / there[0]}{more} would be overwritten.\nChoose another --out, or add --overwrite")


def refuse_foreign(out: Path, kind: str, *, overwrite: bool) -> None:
    """Refuse to write into a folder that something else filled.

    Args:
        out: The folder.
        kind: What ``results.json`` says of itself if the folder is an earlier one of ours.
        overwrite: Whether to write there all the same.

    Raises:
        InvalidOption: If the folder has other contents, or is a file.
    """
    _refuse_file(out)
    if overwrite or not out.is_dir() or not any(out.iterdir()):
        return
    if _kind(out / RESULTS) != kind:
        raise InvalidOption(
            f"the folder {out} is not empty, and it is no earlier {kind}.\nChoose another --out, or add --overwrite"
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that every reader takes: no infinities."""
    path.write_text(as_json(content) + "\n", encoding="utf-8")


def as_json(content: Any) -> str:
    """Return JSON that every reader takes: no infinities."""
    return json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False)


def _refuse_file(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InvalidOption(f"{out} is a file, and a folder is needed to write to.\nChoose another --out")


def _kind(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content.get("kind") if isinstance(content, dict) else None
