"""Opens files and parses them: whatever a file holds, it is read within bounds, or an error names it and the place."""

from __future__ import annotations

import codecs
import contextlib
import difflib
import importlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from padecast._errors import DamagedFile, InvalidOption, MissingFile, missing
from padecast.files.bounds import FOREIGN, MIB, Bounds, Excess, check_json, check_toml, check_values
from padecast.files.text import line

USUAL = Bounds()
NEIGHBOURS = 10_000  # of a missing file that are looked at for a similar name
LONGEST = 4096  # characters of a path


def damaged(path: Path, fact: str) -> DamagedFile:
    """Build the error for a file that cannot be used; ``fact`` says what and where."""
    error = DamagedFile(f"{line(path, 400)} cannot be used: {fact}.")
    error.fact = fact
    return error


def locate(written: str | Path, what: str = "path") -> Path:
    """Return the path that someone wrote, with ``~`` as their home.

    Args:
        written: In a file or on the command line.
        what: It is meant to be, for the message.

    Raises:
        InvalidOption: If it is longer than any path, or of a home that is not there.

    Example:
        >>> locate("some/where.json").name
        'where.json'
    """
    text = os.fspath(written)
    if len(text) > LONGEST or "\0" in text:
        raise InvalidOption(
            f"{what} {line(text)!r} is no path: expected at most {LONGEST} characters, none of them NUL."
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InvalidOption(f"{what} {line(text)!r} is in a home that is not there: {error}") from error


def check_file(path: Path) -> None:
    """Raise unless a file can be opened.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it cannot be read, or is no file.
    """
    with _open(path):
        return


def read_bytes(path: Path, bounds: Bounds = USUAL) -> bytes:
    """Return what a file holds.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it cannot be read, is no file, or is larger than the bounds.
    """
    with _open(path) as file:
        data: bytes = file.read(bounds.size + 1)
    if len(data) > bounds.size:
        raise damaged(path, f"it has more than {_mib(bounds.size)}")
    return data


def read_text(path: Path, bounds: Bounds = USUAL) -> str:
    """Return a file's text.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it cannot be read, is too large, or is not UTF-8.
    """
    return _decode(path, read_bytes(path, bounds))


def read_json(path: Path, bounds: Bounds = USUAL) -> Any:
    """Return what a JSON file says: finite numbers, text, lists and tables, none too large, no key twice.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it cannot be read, is too large, or is no JSON; the message names the place.
    """
    data = read_bytes(path, bounds)
    with _blame(path):
        check_json(data, bounds)
    text = _decode(path, data)
    del data
    return _parse(path, text, bounds)


def read_lines(path: Path, bounds: Bounds = USUAL) -> Iterator[tuple[int, Any]]:
    """Yield the lines of a file of JSON lines with their numbers, one at a time; those that are cut off are skipped.

    Args:
        path: The file.
        bounds: Of a line.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it cannot be read, or a line is JSON that is not read; the message names the line.
    """
    with _open(path) as file:
        for number, data in enumerate(iter(lambda: file.readline(bounds.size + 1), b""), 1):
            if len(data) > bounds.size:
                raise damaged(path, f"line {number} has more than {_mib(bounds.size)}")
            try:
                json_line = data.decode("utf-8")
                check_json(data, bounds)
                document = _loads(json_line)
                check_values(document, bounds)
            except Excess as error:
                raise damaged(path, f"line {number}: {_without_line(str(error))}") from error
            except (ValueError, RecursionError):
                continue  # cut off when it was written
            yield number, document


def read_toml(path: Path, bounds: Bounds = USUAL) -> dict[str, Any]:
    """Return what a TOML file says: finite numbers, text, truth values, lists and tables, none too large.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it cannot be read, is too large, or is no TOML; the message names the place.
        MissingPackage: If this Python has no TOML reader and tomli is not installed.
    """
    data = read_bytes(path, bounds)
    with _blame(path):
        check_toml(data, bounds)
    text = _decode(path, data)
    try:
        document: dict[str, Any] = _toml().loads(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise damaged(path, f"it is no TOML: {line(error)}") from error
    with _blame(path):
        check_values(document, bounds)
    return document


def _parse(path: Path, text: str, bounds: Bounds) -> Any:
    with _blame(path):
        try:
            document = _loads(text)
        except Excess:
            raise
        except (ValueError, RecursionError) as error:
            raise Excess(f"it is not JSON ({line(error)})") from error
        check_values(document, bounds)
    return document


def _loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_table)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise Excess(f"the key {line(twice, 60)!r} is there twice")
    return table


@contextlib.contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open a regular file, so that neither a folder nor a pipe is read."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise damaged(path, "it is a folder" if os.path.isdir(path) else "it is no regular file")
        file = path.open("rb")
    except FileNotFoundError as error:
        raise _missing(path) from error
    except (OSError, ValueError) as error:
        raise damaged(path, f"it cannot be read: {_why(error)}") from error
    with file:
        try:
            yield file
        except OSError as error:
            if isinstance(error, (DamagedFile, MissingFile)):
                raise
            raise damaged(path, f"it cannot be read: {_why(error)}") from error


@contextlib.contextmanager
def _blame(path: Path) -> Iterator[None]:
    try:
        yield
    except Excess as error:
        raise damaged(path, str(error)) from error


def _decode(path: Path, data: bytes) -> str:
    """Decode UTF-8; of a large file, with escapes for what is not ASCII, so that text takes a byte a letter."""
    if data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise damaged(path, "it begins with a byte order mark: save it as UTF-8 without one")
    try:
        if data.isascii() or len(data) <= MIB:
            return data.decode("utf-8")
        if len(data) - len(data.translate(None, bytes(range(128, 256)))) > FOREIGN:
            raise damaged(path, f"it has more than {_mib(FOREIGN)} that are not ASCII")
        return _narrow(data)
    except UnicodeDecodeError as error:
        place = data.count(b"\n", 0, error.start) + 1 if error.object is data else "?"
        raise damaged(path, f"line {place}: it is not UTF-8 (byte {error.object[error.start]:#04x})") from error


def _narrow(data: bytes) -> str:
    decoder, parts = codecs.getincrementaldecoder("utf-8")(), []
    for start in range(0, len(data), MIB):
        part = decoder.decode(data[start : start + MIB], final=start + MIB >= len(data))
        parts.append(re.sub(r"[^\x00-\x7f]+", lambda match: json.dumps(match[0])[1:-1], part))
    return "".join(parts)


def _missing(path: Path) -> MissingFile:
    folder = path.parent
    if not os.path.isdir(folder):
        return MissingFile(f"there is no file {line(path, 400)}, nor a folder {line(folder, 400)}.")
    with contextlib.suppress(OSError):
        names = [entry.name for entry in islice(os.scandir(folder), NEIGHBOURS) if not entry.name.startswith(".")]
        nearest = difflib.get_close_matches(path.name, names, n=1, cutoff=0.4)
        if nearest:
            return MissingFile(f"there is no file {line(path, 400)}; the nearest is {line(folder / nearest[0], 400)}.")
    return MissingFile(f"there is no file {line(path, 400)}.")


def _toml() -> Any:
    name = "tomllib" if sys.version_info >= (3, 11) else "tomli"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise missing(name, "padecast-lab", "reading TOML") from error


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or line(error)


def _mib(count: int) -> str:
    return f"{count / MIB:g} MiB"


def _without_line(fact: str) -> str:
    return re.sub(r"^line 1: ", "", fact)
