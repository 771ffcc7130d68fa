"""What can go wrong, and how it is said.

::

    PadecastError
    ├── UnknownName        (KeyError)     no forecaster, policy, method, option, ... of that name
    ├── InvalidOption      (ValueError)   an option outside its range
    ├── InvalidPlan        (ValueError)   a plan that is not made of C and ., or belongs to another run
    ├── UnsupportedModel   (TypeError)    no stack of blocks is known in this model
    ├── FeatureChanged     (ValueError)   a stack returned something other than what went in
    ├── AlreadyAccelerated (RuntimeError) two attachments on one pipeline
    ├── ConcurrentRun      (RuntimeError) two threads inside one run
    ├── CalibrationMismatch(ValueError)   a calibration used on a run it was not made for
    ├── DamagedFile        (ValueError)   a file that is not what it should be, or too large to be it
    ├── MissingFile        (FileNotFoundError) no file of that name
    ├── UnwritableFile     (OSError)      a full disk, or a folder that nothing can be written to
    ├── MissingPackage     (ImportError)  a part that lives behind an extra
    └── MissingWeights     (OSError)      a published network whose weights are not here

    PadecastWarning        (UserWarning)  the run is right, but not what was probably meant

Every message states the fact with its numbers, the usual cause, and a remedy to paste.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

LONGEST = 1000  # characters of a value in a message


class PadecastError(Exception):
    """Root of every error that padecast raises on purpose."""


class UnknownName(PadecastError, KeyError):
    """A name that is not registered."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class InvalidOption(PadecastError, ValueError):
    """An option outside its range."""


class InvalidPlan(PadecastError, ValueError):
    """A plan string that cannot be followed."""


class UnsupportedModel(PadecastError, TypeError):
    """A model whose stack of blocks is not described."""


class FeatureChanged(PadecastError, ValueError):
    """A stack whose output cannot be compared with its input."""


class AlreadyAccelerated(PadecastError, RuntimeError):
    """A second attachment to what is already accelerated."""


class ConcurrentRun(PadecastError, RuntimeError):
    """Two threads that sample with one accelerated model at once."""


class CalibrationMismatch(PadecastError, ValueError):
    """A calibration used on a run that it was not made for."""


class DamagedFile(PadecastError, ValueError):
    """A file that is not what it should be, or too large to be it."""

    fact = ""  # what is wrong, and where in the file


class MissingFile(PadecastError, FileNotFoundError):
    """A file that is not there."""


class UnwritableFile(PadecastError, OSError):
    """A file that could not be written: the disk is to blame, and nothing that was there before is lost."""


class MissingPackage(PadecastError, ImportError):
    """A part of padecast whose dependency is not installed."""


class MissingWeights(PadecastError, OSError):
    """A published network, needed for a metric, that could not be loaded."""


class PadecastWarning(UserWarning):
    """The run is right, but probably not what was meant."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """Build the error for an unregistered name, naming the nearest registered ones.

    Args:
        kind: What the name should have been, e.g. ``"method"``.
        name: What was given.
        known: The registered names.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown("method", "tcpade", ["tc-pade", "spectrum"]))
        unknown method 'tcpade'; the nearest is 'tc-pade'.
        Known: spectrum, tc-pade
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
    return UnknownName(f"unknown {kind} {_shown(name)}{hint}.\nKnown: {', '.join(names) or 'none'}")


def missing(package: str, extra: str, purpose: str) -> MissingPackage:
    """Build the error for a package that lives behind an extra.

    Example:
        >>> print(missing("matplotlib", "lab", "drawing pictures"))
        drawing pictures needs the package 'matplotlib', which is not installed.
        Install it with: pip install "padecast[lab]"
    """
    return MissingPackage(
        f"{purpose} needs the package {package!r}, which is not installed.\n"
        f'Install it with: pip install "padecast[{extra}]"'
    )


def check(condition: bool, name: str, value: object, expected: str) -> None:
    """Validate one option where it is constructed.

    Raises:
        InvalidOption: If ``condition`` does not hold, with the option's name, value and range.

    Example:
        >>> check(0 < 3, "every", 3, "at least 1")
        >>> check(False, "every", 0, "at least 1")
        Traceback (most recent call last):
            ...
        padecast._errors.InvalidOption: every=0 is out of range: expected at least 1.
    """
    if not condition:
        raise InvalidOption(f"{name}={_shown(value)} is out of range: expected {expected}.")


def _shown(value: object) -> str:
    """Return a value as it is written in code, cut where nobody would read on."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
