"""Writes files: each whole or not at all, and an error that blames the disk where it is the disk."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from io import FileIO
from pathlib import Path

from padecast._errors import UnwritableFile
from padecast.files.text import line

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_SYNCED = frozenset({errno.EINVAL, errno.ENOTSUP})  # what a file system says that has no fsync
REMEDIES = {
    **dict.fromkeys(FULL, "Make room on that disk, or write to another one."),
    errno.EROFS: "That disk is read-only: write to another one.",
    errno.EACCES: "This user may not write there: choose another place, or change its permissions.",
    errno.EPERM: "This user may not write there: choose another place, or change its permissions.",
    errno.ENOTDIR: "A file is in the way where a folder is needed: choose another place.",
    errno.EISDIR: "A folder is in the way where a file is needed: choose another name.",
    errno.EEXIST: "A file is in the way where a folder is needed: choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
}
PART = 65_536  # bytes that are read at once
TRIAL = 65_536  # bytes that are written to see whether there is room


def write(path: str | Path, content: str | bytes) -> Path:
    """Write a file so that it is whole or as it was before, and return its path.

    What is there under another name is replaced at once when it is complete and on the disk; a killed process or a
    full disk leaves the old file. Permissions are those of any new file, or of the file that is replaced.

    Args:
        path: Folders on the way to it are made.
        content: Bytes, or text that is encoded as UTF-8.

    Raises:
        UnwritableFile: If it cannot be written; the message says why.
    """
    target = Path(path)
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with blame(target):
        _replace(Path(os.path.realpath(target)) if target.is_symlink() else target, data)
    return target


def append(path: Path, text: str) -> None:
    """Add a line to a file of JSON lines, which is made if need be; a line that does not fit is taken back.

    A last line that was cut off goes; one that is whole but for its end is ended.

    Raises:
        UnwritableFile: If it cannot be written; the message says why.
    """
    with blame(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            data = _end_line(file, size) + text.encode("utf-8", "replace") + b"\n"
            size = min(size, file.seek(0, os.SEEK_END))
            try:
                while data:
                    data = data[file.write(data) :]
            except BaseException:
                with contextlib.suppress(OSError):
                    file.truncate(size)
                raise


@contextlib.contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Yield a folder to write to, whose files move into ``out`` once all of them are written.

    Raises:
        UnwritableFile: If the files cannot be moved there; the message says why.
    """
    with blame(out):
        beside = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
        folder = tempfile.TemporaryDirectory(prefix=".padecast-", dir=beside)
    with folder as name:
        yield Path(name)
        with blame(out):
            for file in sorted(path for path in Path(name).rglob("*") if path.is_file()):
                target = out / file.relative_to(name)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)


def check_writable(folder: Path) -> None:
    """Raise now, before anything has run, if no file can be written to a folder; nothing is left there.

    Raises:
        UnwritableFile: If it cannot be made, or nothing can be written to it; the message says why.
    """
    with blame(folder):
        absent = [place for place in (folder, *folder.absolute().parents) if not place.exists()]
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                if file.write(b"\0" * TRIAL) < TRIAL:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            for place in absent:
                with contextlib.suppress(OSError):
                    place.rmdir()


def is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error, ours or another library's.

    Example:
        >>> is_full(OSError(28, "No space left on device")), is_full(OSError(2, "No such file"))
        (True, False)
    """
    for _ in range(16):
        if error is None:
            return False
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if os.strerror(errno.ENOSPC) in str(error):  # from libraries that write by themselves
            return True
        error = error.__cause__ or error.__context__
    return False


@contextlib.contextmanager
def blame(path: Path) -> Iterator[None]:
    """Turn what the system says of writing a file into an error that names the file, the cause and a remedy."""
    try:
        yield
    except UnwritableFile:
        raise
    except OSError as error:
        remedy = REMEDIES.get(error.errno or 0, "Choose another place, or look after that disk.")
        blamed = UnwritableFile(
            f"{line(path, 400)} could not be written: {error.strerror or error}.\n"
            f"What was there before is as it was. {remedy}"
        )
        blamed.errno = error.errno
        raise blamed from error
    except ValueError as error:  # a path with a NUL
        raise UnwritableFile(f"{line(path, 400)} could not be written: {error}.\nChoose another name.") from error


def _end_line(file: FileIO, size: int) -> bytes:
    """Return what ends the last line of a file; one that was cut off is taken away, which needs no room."""
    file.seek(max(size - 1, 0))
    if file.read(1) in (b"", b"\n"):
        return b""
    begin = 0
    for start in range(max(size - PART, 0), -PART, -PART):  # the last line is sought from the end
        file.seek(max(start, 0))
        place = file.read(PART).rfind(b"\n")
        if place >= 0:
            begin = max(start, 0) + place + 1
            break
    file.seek(begin)
    try:
        json.loads(file.read())
    except (ValueError, RecursionError):
        file.truncate(begin)
        return b""
    return b"\n"


def _replace(target: Path, data: bytes) -> None:
    mode = target.stat().st_mode if target.exists() else None
    if mode is not None and not stat.S_ISREG(mode):
        target.write_bytes(data)  # a device or a pipe stays what it is; a folder is an error
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.parent / f".padecast-{secrets.token_hex(8)}.half"
    try:
        with half.open("xb") as file:  # with the mode of any file, unlike those of tempfile
            file.write(data)
            file.flush()
            if mode is not None:
                os.chmod(half, stat.S_IMODE(mode))
            _sync(file.fileno())
        os.replace(half, target)
    except BaseException:
        with contextlib.suppress(OSError):
            half.unlink(missing_ok=True)
        raise


def _sync(descriptor: int) -> None:
    """Wait until a file is on the disk, so that its name never stands for less than its contents."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NOT_SYNCED:
            raise
