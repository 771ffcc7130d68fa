"""Folders that results go to, and JSON as it is written there."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from padecast import files
from padecast._errors import InvalidOption, PadecastError
from padecast.files import check_writable, staged
from padecast.report import finite

__all__ = ["RESULTS", "as_json", "check_writable", "refuse_existing", "refuse_foreign", "staged", "write_json"]

RESULTS = "results.json"
HIDDEN = re.compile(r"[\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Characters that JSON may hold as they are, and that a terminal obeys or hides."""


def refuse_existing(out: Path, names: Iterable[str], *, overwrite: bool) -> None:
    """Refuse to write over files of these names.

    Raises:
        InvalidOption: If one is there already, or ``out`` is a file.
    """
    _refuse_file(out)
    clashes = [name for name in names if os.path.exists(out / name)]
    if clashes and not overwrite:
        more = f" and {len(clashes) - 1} more of these files" if clashes[1:] else ""
        raise InvalidOption(f"{out / clashes[0]}{more} would be overwritten.\nChoose another --out, or add --overwrite")


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
    if overwrite or not os.path.isdir(out) or not any(out.iterdir()):
        return
    if _kind(out / RESULTS) != kind:
        raise InvalidOption(
            f"the folder {out} is not empty, and it is no earlier {kind}.\nChoose another --out, or add --overwrite"
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON that every reader takes: no infinities."""
    files.write(path, as_json(content) + "\n")


def as_json(content: Any) -> str:
    """Return JSON that every reader takes, and every terminal shows as it is: no infinities, no control codes.

    Example:
        >>> print(as_json({"name": "a" + chr(0x202E)}))
        {
          "name": "a\\u202e"
        }
    """
    plain = json.dumps(finite(content), indent=2, allow_nan=False, ensure_ascii=False)
    return HIDDEN.sub(lambda match: f"\\u{ord(match[0]):04x}", plain)


def _refuse_file(out: Path) -> None:
    if os.path.exists(out) and not os.path.isdir(out):
        raise InvalidOption(f"{out} is a file, and a folder is needed to write to.\nChoose another --out")


def _kind(path: Path) -> str | None:
    try:
        content = files.read_json(path)
    except PadecastError:
        return None
    return content.get("kind") if isinstance(content, dict) else None
