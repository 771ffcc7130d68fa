"""Where lessons are: in memory, and in a folder that several processes may share."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import filelock
import platformdirs

from padecast import files
from padecast._errors import DamagedFile, MissingFile, PadecastWarning, UnknownName, UnwritableFile, unknown
from padecast.lessons import display
from padecast.lessons.gains import Gains
from padecast.lessons.identity import Identity
from padecast.lessons.lesson import Lesson
from padecast.lessons.look import Look

SUFFIX = ".lesson.json"
PATIENCE = 10.0
"""Seconds that another process is waited for."""
PLANS = 64
"""Plans that are remembered, at most."""
Plan = TypeVar("Plan")


def default_folder() -> Path:
    """Return the folder in the user's cache, or the one that ``PADECAST_LESSONS`` names."""
    named = os.environ.get("PADECAST_LESSONS")
    return files.locate(named) if named else Path(platformdirs.user_cache_dir("padecast", appauthor=False)) / "lessons"


@dataclass(frozen=True)
class Entry:
    """A lesson of a library, or a file that cannot be read as one.

    Args:
        key: Of its identity; the name of the file without its ending.
        path: Where it is; ``None`` in memory.
        lesson: What it holds; ``None`` if the file cannot be used.
        fact: Why it cannot; nothing if it can.

    Example:
        >>> print(Entry("5f0c", None, Lesson(Identity("DiT"))))
        nothing learnt yet
    """

    key: str
    path: Path | None
    lesson: Lesson | None
    fact: str = ""

    def __str__(self) -> str:
        return self.fact if self.lesson is None else display.summarize(self.lesson)


@dataclass(eq=False)
class Library:
    """Lessons by identity: each in a file of its own, written at once under a lock, and remembered in memory.

    A file that is damaged or of a later release is never touched: a warning names it, and the lesson is kept in memory
    alone. So it is where nothing can be written.

    Args:
        place: ``True`` (default): the user's cache folder; a folder; or ``False``: memory alone.

    Example:
        >>> library = Library(False)
        >>> library.get(Identity("DiT")) is None, library.list()
        (True, [])
    """

    place: bool | str | Path = True
    _memory: dict[str, Lesson] = field(default_factory=dict, init=False)
    _identities: dict[str, tuple[tuple[int, int], Identity]] = field(default_factory=dict, init=False)
    _plans: dict[tuple[Any, ...], Any] = field(default_factory=dict, init=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False)

    def __repr__(self) -> str:
        keys = {key for key, _ in self._paths()} | {*self._memory}
        place = "memory" if self.folder is None else files.line(self.folder, 400)
        return f"<Library in {place}: {display.count(len(keys), 'lesson')}>"

    def _repr_html_(self) -> str:
        rows = [
            (entry.key[:6], "" if entry.lesson is None else str(entry.lesson.identity), str(entry))
            for entry in self.list()
        ]
        return display.block(repr(self)[1:-1], []) + display.table(("key", "of", "learnt from"), rows)

    @property
    def folder(self) -> Path | None:
        """Where files are; ``None`` if nothing is written."""
        if isinstance(self.place, bool):
            return default_folder().absolute() if self.place else None
        return files.locate(self.place, "lessons").absolute()

    def path_of(self, key: str) -> Path | None:
        """Return where the lesson of a key is, or would be; ``None`` if nothing is written."""
        return None if self.folder is None else self.folder / f"{key}{SUFFIX}"

    def get(self, identity: Identity) -> Lesson | None:
        """Return the lesson of an identity; ``None`` if there is none, or none that can be read, with a warning."""
        with self._lock:
            path, remembered = self.path_of(identity.key), self._memory.get(identity.key)
            if path is None:
                return remembered
            with warnings.catch_warnings():
                if remembered is not None:  # it was said when that could not be written
                    warnings.simplefilter("ignore", PadecastWarning)
                lesson, _ = _read(path)
            if lesson is None or lesson.identity.key != identity.key:
                return remembered
            return lesson if remembered is None else lesson + remembered  # memory has what could not be written

    def nearest(self, identity: Identity) -> Lesson | None:
        """Return the lesson of the nearest other setting that may stand in; ``None`` if none is near enough.

        See :meth:`Identity.distance`. Files are read once, and again when they change.
        """
        with self._lock:
            identities = [lesson.identity for lesson in self._memory.values()]
            for key, path in self._paths():
                identities += [each] if (each := self._identity_of(key, path)) is not None else []
        others = [each for each in identities if each.key != identity.key]
        nearest = min(others, key=lambda each: (identity.distance(each), each.key), default=None)
        if nearest is None or math.isinf(identity.distance(nearest)):
            return None
        return self.get(nearest)

    def _identity_of(self, key: str, path: Path) -> Identity | None:
        """Return whose the lesson of a file is; nothing if it cannot be used, which is said when it is asked for."""
        try:
            state = path.stat()
            stamp = (state.st_mtime_ns, state.st_size)
            if self._identities.get(key, (None, None))[0] != stamp:
                self._identities[key] = (stamp, Lesson.load(path).identity)
        except (OSError, DamagedFile, MissingFile):
            return None
        return self._identities[key][1]

    def add(self, identity: Identity, look: Look) -> Lesson:
        """Add what a run has shown to the lesson of an identity, and return the lesson as it is then.

        Two processes that add at once lose nothing: each reads, adds and replaces under a lock.
        """
        return self._change(identity, lambda lesson: lesson.add(look))

    def keep(self, identity: Identity, gains: Gains) -> Lesson:
        """Keep measured gains with the lesson of an identity, in place of older ones; return the lesson as it is then.

        Before any run has taught, they wait for it.
        """
        return self._change(identity, lambda lesson: replace(lesson, gains=gains))

    def _change(self, identity: Identity, change: Callable[[Lesson], Lesson]) -> Lesson:
        """Replace the lesson of an identity by what is made of it, and return that."""
        with self._lock:
            path = self.path_of(identity.key)
            if path is not None:
                try:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    with filelock.FileLock(path.with_name(f".{path.name}.lock"), timeout=PATIENCE):
                        lesson, fact = _read(path)
                        if lesson is not None and lesson.identity.key != identity.key:
                            fact = f"{files.line(path, 400)} holds the lesson of another model, {lesson.identity}"
                            _warn(f"{fact}.\nIt is left as it is, and what runs teach is kept in memory alone")
                        if not fact:
                            lesson = lesson or Lesson(identity)
                            if identity.key in self._memory:  # what could not be written before
                                lesson = lesson + self._memory[identity.key]
                            lesson = change(lesson)
                            lesson.save(path)
                            self._memory.pop(identity.key, None)
                            return lesson
                except (OSError, filelock.Timeout, UnwritableFile) as error:
                    _warn(f"the lesson of {identity} was not written to {files.line(path, 400)}: {files.line(error)}")
            self._memory[identity.key] = change(self._memory.get(identity.key, Lesson(identity)))
            return self.get(identity) or self._memory[identity.key]

    def holds(self, identity: Identity) -> str:
        """Say where the lesson of an identity is kept."""
        if self.folder is None or identity.key in self._memory:
            return "memory"
        return "the lessons of this user (padecast lessons)" if self.place is True else files.line(self.folder, 400)

    def plan(self, lesson: Lesson, wish: Hashable, search: Callable[[], Plan]) -> Plan:
        """Return what was planned of a lesson for a wish before, or search it, so that handles share what is found.

        Args:
            lesson: Of this library; once it has learnt more, it is planned anew.
            wish: What the plan is for.
            search: Searches it.
        """
        content = sum(float(look.singles.sum()) for look in lesson.looks)
        key = (lesson.identity.key, lesson.runs, lesson.samples, content, lesson.gains, wish)
        with self._lock:
            known: Plan | None = self._plans.pop(key, None)
            if known is not None:
                self._plans[key] = known  # the newest: those that nobody asks for go first
                return known
        plan = search()
        with self._lock:
            while len(self._plans) >= PLANS:
                self._plans.pop(next(iter(self._plans)))
            plan = self._plans.setdefault(key, plan)  # another thread may have been first
        return plan

    def list(self) -> list[Entry]:
        """Return what there is, sorted by key: files, those that cannot be used too, and what memory alone has."""
        return sorted(self._entries(), key=lambda entry: (entry.key, entry.path is None))

    def _entries(self) -> Iterator[Entry]:
        for key, path in self._paths():
            try:
                yield Entry(key, path, Lesson.load(path))
            except (DamagedFile, MissingFile) as error:
                yield Entry(key, path, None, files.line(getattr(error, "fact", "") or error))
        for key, lesson in self._memory.items():
            yield Entry(key, None, lesson)

    def _paths(self) -> Iterator[tuple[str, Path]]:
        """Yield the keys that have a file, and their files."""
        paths: tuple[Path, ...] = ()
        if self.folder is not None:
            with contextlib.suppress(OSError):
                paths = tuple(self.folder.iterdir())
        for path in paths:
            if path.name.endswith(SUFFIX):
                yield path.name.removesuffix(SUFFIX), path

    def show(self, key: str) -> Lesson:
        """Return the lesson whose key begins so.

        Raises:
            UnknownName: If there is none, or several.
            DamagedFile: If its file cannot be used; the message says why.
        """
        entry = self.find(key)
        if entry.lesson is None:
            assert entry.path is not None
            return Lesson.load(entry.path)
        return entry.lesson

    def export(self, key: str, path: str | Path) -> Path:
        """Write the lesson whose key begins so to a file.

        Raises:
            UnknownName: If there is none, or several.
            UnwritableFile: If it cannot be written.
        """
        return self.show(key).save(path)

    def take(self, path: str | Path | Lesson) -> Lesson:
        """Add the runs of a file, or of a lesson, to the library, such as one of elsewhere; return the lesson.

        Runs that the library has already, as of a file that is taken twice, are not counted again.

        Raises:
            MissingFile: If there is none.
            DamagedFile: If it is no lesson.
            InvalidOption: If file and library share some runs while each has others, so that they cannot be added up.
        """
        source = path if isinstance(path, Lesson) else Lesson.load(path)
        return self._change(source.identity, lambda lesson: lesson.unite(source))

    def remove(self, key: str) -> None:
        """Forget the lesson whose key begins so, file and all.

        Raises:
            UnknownName: If there is none, or several.
        """
        entry = self.find(key)
        with self._lock:
            self._memory.pop(entry.key, None)
            if entry.path is not None:
                try:
                    with filelock.FileLock(entry.path.with_name(f".{entry.path.name}.lock"), timeout=PATIENCE):
                        entry.path.unlink(missing_ok=True)
                except (OSError, filelock.Timeout) as error:
                    raise UnwritableFile(
                        f"{files.line(entry.path, 400)} was not removed: {files.line(error)}.\n"
                        "Usual cause: another process writes it at this moment, or the folder may not be changed."
                    ) from error

    def find(self, key: str) -> Entry:
        """Return the entry whose key begins so, also of a file that cannot be used.

        Raises:
            UnknownName: If there is none, or several.
        """
        entries = [entry for entry in self.list() if entry.key.startswith(key)] if key else []
        if not entries:
            raise unknown("lesson", key, [entry.key for entry in self.list()])
        if len({entry.key for entry in entries}) > 1:
            keys = ", ".join(sorted({entry.key for entry in entries}))
            raise UnknownName(f"{len(entries)} lessons begin with {key!r}: {keys}.\nWrite more of one.")
        return entries[0]


def _read(path: Path) -> tuple[Lesson | None, str]:
    """Return the lesson of a file, and why it cannot be used; neither if there is no file."""
    try:
        return Lesson.load(path), ""
    except MissingFile:
        return None, ""
    except DamagedFile as error:
        _warn(f"{files.line(error, 800)}\nIt is left as it is, and what runs teach is kept in memory alone")
        return None, str(error)


def _warn(text: str) -> None:
    warnings.warn(f"{text}.", PadecastWarning, stacklevel=4)
