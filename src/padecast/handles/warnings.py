"""Warnings that point at the caller's own line, past the libraries between."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from padecast._errors import PadecastWarning

PACKAGES = ("padecast", "torch", "diffusers", "accelerate", "contextlib", "functools", "concurrent", "threading")
ROOT = str(Path(__file__).parent)


@dataclass(frozen=True)
class Line:
    """A line of somebody's code.

    Args:
        file: Its path.
        number: Counted from 1.
        module: Name of its module.
    """

    file: str
    number: int
    module: str

    @classmethod
    def of_caller(cls, pipeline: Any = None) -> Line:
        """Return the innermost line on the call stack that belongs to somebody else than padecast and its neighbours.

        Args:
            pipeline: Whose methods do not count either.
        """
        frame: FrameType | None = sys._getframe(1)
        first = frame
        while frame is not None and (_is_between(frame) or _is_method(frame, pipeline)):
            frame = frame.f_back
        frame = frame or first
        assert frame is not None
        return cls(frame.f_code.co_filename, frame.f_lineno, frame.f_globals.get("__name__", "__main__"))

    def warn(self, message: str) -> None:
        """Issue a :class:`PadecastWarning` that names this line."""
        warnings.warn_explicit(message, PadecastWarning, self.file, self.number, self.module)


def warn(message: str, pipeline: Any = None) -> None:
    """Issue a :class:`PadecastWarning` that names the caller's line.

    Args:
        message: What is said.
        pipeline: Whose methods are not meant by the caller.

    Example:
        >>> import warnings
        >>> with warnings.catch_warnings(record=True) as caught:
        ...     warnings.simplefilter("always")
        ...     warn("nothing was forecast")
        >>> str(caught[0].message)
        'nothing was forecast'
    """
    Line.of_caller(pipeline).warn(message)


def _is_between(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return name in PACKAGES or frame.f_code.co_filename.startswith(ROOT)


def _is_method(frame: FrameType, pipeline: Any) -> bool:
    is_method = pipeline is not None and frame.f_code.co_varnames[:1] == ("self",)
    return is_method and frame.f_locals.get("self") is pipeline
