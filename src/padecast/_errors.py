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
    ├── HubError           (OSError)      a repository of the Hub that cannot be reached, read or written
    ├── MissingPackage     (ModuleNotFoundError) a part whose package is not installed
    └── MissingWeights     (OSError)      a published network whose weights are not here

    PadecastWarning        (UserWarning)  the run is right, but not what was probably meant

Every message states the fact with its numbers, the usual cause, and a remedy to paste.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


class HubError(PadecastError, OSError):
    """A repository of the Hub that cannot be reached, read or written: one line that says what would do."""


class MissingPackage(PadecastError, ModuleNotFoundError):
    """A part of padecast whose dependency is not installed."""


class MissingWeights(PadecastError, OSError):
    """A published network, needed for a metric, that could not be loaded."""


class PadecastWarning(UserWarning):
    """The run is right, but probably not what was meant."""


def unknown(kind: str, name: object, choices: Iterable[str], hint: str = "") -> UnknownName:
    """Build the error for an unregistered name, naming the nearest registered one if one is near.

    Args:
        kind: What the name should have been, e.g. ``"method"``.
        name: What was given.
        choices: The registered names.
        hint: What is known of such a name, in place of the nearest. Default nothing.

    Returns:
        The error, to be raised by the caller.

    Example:
        >>> print(unknown("method", "tcpade", ["tc-pade", "spectrum"]))
        unknown method 'tcpade'; the nearest is 'tc-pade'.
        Known: spectrum, tc-pade
        >>> print(unknown("method", "nope", ["none", "fora"]))
        unknown method 'nope'.
        Known: fora, none
    """
    names = sorted(choices)
    near = nearest(name, names)
    advice = hint or (f"the nearest is {near!r}" if near else "")
    return UnknownName(f"unknown {kind} {quote(name)}{advice and '; '}{advice}.\nKnown: {', '.join(names) or 'none'}")


def nearest(name: object, choices: Iterable[str]) -> str | None:
    """Return the known name that was probably meant, or nothing.

    Case and signs between words do not count. A name is meant by its beginning, by its letters in another order, or
    if four fifths of both are the same: one wrong letter of four is another word.

    Example:
        >>> names = ["hard", "none", "taylorseer", "delta-dit"]
        >>> [nearest(name, names) for name in ("hrad", "Taylor", "delta_dti", "nope", "digits", 3)]
        ['hard', 'taylorseer', 'delta-dit', None, None, None]
    """
    if not isinstance(name, str):
        return None
    plain = _plain(name)
    shares = {other: _share(plain, _plain(other)) for other in choices}
    best = max(shares, key=lambda other: shares[other], default=None)
    return best if best is not None and shares[best] >= NEAR else None


NEAR = 0.8
BEGINNING = 3  # letters from which the beginning of a name stands for it


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def _share(word: str, name: str) -> float:
    """Return how much of two plain names is the same; equal ones first, then beginnings and turned letters."""
    if not word or not name:
        return 0.0
    share = difflib.SequenceMatcher(None, word, name).ratio()
    begins = len(word) >= BEGINNING and name.startswith(word)
    return max(share, NEAR) if begins or sorted(word) == sorted(name) else share


def missing(package: str, requirement: str, purpose: str) -> MissingPackage:
    """Build the error for a package that is not installed.

    Args:
        package: Its name.
        requirement: What brings it: a distribution of padecast, with an extra where it takes one.
        purpose: What it is needed for, to begin a sentence.

    Example:
        >>> print(missing("matplotlib", "padecast-lab", "drawing pictures"))
        drawing pictures needs the package 'matplotlib', which is not installed.
        Install it with: pip install padecast-lab
        >>> print(missing("diffusers", "padecast[diffusers]", "loading a pipeline"))
        loading a pipeline needs the package 'diffusers', which is not installed.
        Install it with: pip install "padecast[diffusers]"
    """
    words = f'"{requirement}"' if "[" in requirement else requirement  # brackets are patterns in a shell
    return MissingPackage(
        f"{purpose} needs the package {package!r}, which is not installed.\nInstall it with: pip install {words}"
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
        raise InvalidOption(f"{name}={quote(value)} is out of range: expected {expected}.")


def quote(value: object) -> str:
    """Write a value for a message: as Python does, and shortened where it is longer than anybody reads.

    Example:
        >>> quote("C..C"), len(quote("C" * 1000))
        ("'C..C'", 203)
    """
    try:
        written = repr(value)
    except (ValueError, RecursionError):  # whole numbers of thousands of digits, tuples in tuples without end
        written = f"a {type(value).__name__}"
    return written if len(written) <= LONGEST else f"{written[:LONGEST]}..."


LONGEST = 200
