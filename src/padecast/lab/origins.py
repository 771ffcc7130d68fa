"""What a cell depends on that its words do not say: weights, a method's defaults, the contents of a calibration."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from functools import lru_cache
from pathlib import Path

from padecast import files, zoo
from padecast._errors import InvalidOption
from padecast.lab.peers import REGISTRY, is_foreign
from padecast.lab.runner import UNCACHED
from padecast.lab.solvers import is_fewer
from padecast.methods import method


def origin(source: str, way: str) -> str:
    """Return a digest that changes when the same words would draw something else.

    Args:
        source: A demo model, a folder with a pipeline, or ``owner/name`` on the hub, of which only its name is known.
        way: A method or peer with its options, ``"calibrated:FILE"``, or another way to sample.

    Example:
        >>> origin("digits", "fora") == origin("digits", "fora:every=4") != origin("digits", "fora:every=3")
        True
    """
    return _short(f"{weights(source)} {_meaning(way)}".encode())


def parse_shipped(written: str) -> tuple[str, str] | None:
    """Return demo model and setting of a calibration that ships with padecast; None of a file.

    Example:
        >>> parse_shipped("digits:hard"), parse_shipped("own.json")
        (('digits', 'hard'), None)
    """
    match = re.fullmatch(r"([\w-]+):([\w-]+)", written)
    return (match[1], match[2]) if match else None


def weights(source: str) -> str:
    """Return a digest of what a pipeline's folder loads; its name alone where it is no folder."""
    written = files.locate(source, "source")
    folder = zoo.WEIGHTS / source
    if not re.fullmatch(r"[\w-]+", source) or not os.path.isdir(folder):  # not the name of a demo model
        folder = written
        if not os.path.isfile(folder / "model_index.json"):  # no pipeline, so that nothing of it is ever loaded
            return source
    try:
        inside = [*folder.glob("*.safetensors"), *folder.glob("model_index.json"), *folder.glob("*/**/*")]  # not notes
        paths = sorted(path for path in inside if path.is_file())
        return _contents(folder, tuple((str(path.relative_to(folder)), path.stat().st_mtime_ns) for path in paths))
    except OSError as error:
        raise InvalidOption(f"the pipeline in {files.line(folder, 400)} cannot be read: {error}.") from error


@lru_cache(maxsize=16)
def _contents(folder: Path, stamps: tuple[tuple[str, int], ...]) -> str:
    """Return a digest of files; their times only tell when to read them again."""
    digest = hashlib.sha256()
    for name, _ in stamps:
        digest.update(name.encode())
        with (folder / name).open("rb") as file:
            for part in iter(lambda: file.read(2**20), b""):
                digest.update(part)
    return digest.hexdigest()[:16]


def _meaning(way: str) -> str:
    """Return what a method or peer is with all of its options, and what a calibration's file says."""
    kind, _, file = way.partition(":")
    if kind == "calibrated":
        named = parse_shipped(file)
        path = zoo.CALIBRATIONS / f"{'-'.join(named)}.json" if named else files.locate(file, "calibration")
        return _short(files.read_bytes(path)) if os.path.isfile(path) else way
    if way == UNCACHED.name or is_fewer(way):
        return way
    if is_foreign(way):
        return repr(REGISTRY.make(way))
    parts = method(way)
    sources = [_source(part) for part in (parts.policy, parts.forecaster)]
    return repr((parts.policy, parts.forecaster, parts.span, *filter(None, sources)))


def _source(part: object) -> str:
    """Return a digest of the module of a class that a plugin registered; nothing of those that ship."""
    module = sys.modules.get(type(part).__module__)
    if module is None or module.__name__.partition(".")[0] == "padecast" or not getattr(module, "__file__", None):
        return ""
    return _short(files.read_bytes(Path(str(module.__file__))))


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
