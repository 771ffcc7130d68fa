"""Files are written whole or not at all, with the mode of any file, and the disk is blamed where it is the disk."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.files.meter import full_disk

from padecast import MissingFile, PadecastError, UnwritableFile, files


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("content", ["text, größer\n", b"\0\xff" * 1000, "", "a\ud800b"])
def test_a_file_holds_what_was_written(content: str | bytes, tmp_path: Path) -> None:
    path = files.write(tmp_path / "some" / "where.txt", content)
    wanted = content if isinstance(content, bytes) else content.encode("utf-8", "replace")
    assert path.read_bytes() == wanted and names(path.parent) == ["where.txt"]


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_any_file_and_an_old_one_keeps_its_own(mask: int, tmp_path: Path) -> None:
    usual = os.umask(mask)
    try:
        new = files.write(tmp_path / "new", "a")
        (tmp_path / "old").touch()
        (tmp_path / "old").chmod(0o640)
        old = files.write(tmp_path / "old", "a")
    finally:
        os.umask(usual)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (new, old)] == [0o666 & ~mask, 0o640]


@pytest.mark.parametrize("room", [0, 1, 4096, 99_999])
@pytest.mark.parametrize("before", [None, b"what was there"])
def test_a_full_disk_leaves_what_was_there_and_is_blamed(room: int, before: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    if before is not None:
        path.write_bytes(before)
    with full_disk(room), pytest.raises(UnwritableFile, match=r"(?s)c\.json could not be written.*Make room") as raised:
        files.write(path, b"x" * 100_000)
    assert raised.value.errno == errno.EFBIG and isinstance(raised.value, OSError)
    assert names(tmp_path) == (["c.json"] if before else []) and (before is None or path.read_bytes() == before)


@pytest.mark.parametrize("call", ["open", "write", "fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_whatever_fails_on_the_way_leaves_the_old_file(
    call: str, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.json"
    path.write_text("old")

    def fails(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    class Full:
        write = fails
        flush = fails

        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None:
            return None

    with monkeypatch.context() as patch:
        if call in ("open", "write"):
            patch.setattr(Path, "open", fails if call == "open" else lambda *_: Full())
        else:
            patch.setattr(os, call, fails)
        with pytest.raises(UnwritableFile, match=os.strerror(number)):
            files.write(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["c.json"]


def test_an_interrupt_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.json"
    path.write_text("old")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write(path, "new")
    assert path.read_text() == "old" and names(tmp_path) == ["c.json"]


KILLED = """
import os, signal, sys
from pathlib import Path
from padecast import files
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
files.write(Path(sys.argv[1]), "new" * 100_000)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text("old")
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL and path.read_text() == "old"


def test_a_link_is_followed_and_a_device_stays_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("old")
    (tmp_path / "link").symlink_to(target)
    files.write(tmp_path / "link", "new")
    assert target.read_text() == "new" and (tmp_path / "link").is_symlink()
    files.write("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(UnwritableFile, match="No space left on device"):
        files.write("/dev/full", "x")


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (".", "directory"),
        ("file/below.json", "A file is in the way"),
        ("x" * 300, "shorter name"),
        ("a\0b", "another name"),
    ],
)
def test_a_place_that_is_none_is_said(path: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableFile, match=rf"(?is){said}"):
        files.write(tmp_path / path, "x")


# Lines ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"{}\n"),
        (b"1\n", b"1\n{}\n"),
        (b"1\n2", b"1\n2\n{}\n"),
        (b'1\n{"a', b"1\n{}\n"),
        (b'{"a', b"{}\n"),
        (b"1\n" + b"x" * 200_000, b"1\n{}\n"),
        (b"1\n" + b'"' + b"x" * 200_000 + b'"', b"1\n" + b'"' + b"x" * 200_000 + b'"\n{}\n'),
    ],
    ids=range(7),
)
def test_a_line_is_added_after_what_is_whole(before: bytes, after: bytes, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(before)
    files.append(path, "{}")
    assert path.read_bytes() == after


# Folders -------------------------------------------------------------------------------------------------------------


def test_staged_files_come_all_together_and_into_folders_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "deep" / "old").write_text("old")
    with files.staged(tmp_path / "out") as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "new").write_text("new")
        (folder / "top").write_text("top")
        assert not (tmp_path / "out" / "top").exists()
    assert names(tmp_path / "out") == ["deep", "top"] and names(tmp_path / "out" / "deep") == ["new", "old"]
    with contextlib.suppress(RuntimeError), files.staged(tmp_path / "out") as folder:
        (folder / "half").write_text("half")
        raise RuntimeError
    assert names(tmp_path / "out") == ["deep", "top"]


@pytest.mark.parametrize("place", ["", "new", "new/and/deeper"])
def test_a_folder_is_tried_and_left_as_it_was(place: str, tmp_path: Path) -> None:
    files.check_writable(tmp_path / place)
    assert names(tmp_path) == []


@pytest.mark.parametrize("place", ["file", "file/below", "x" * 300, "a\0b"])
def test_a_folder_that_cannot_be_written_to_is_said(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnwritableFile, match="could not be written"):
        files.check_writable(tmp_path / place)
    assert names(tmp_path) == ["file"]


def test_a_folder_on_a_full_disk_is_said(tmp_path: Path) -> None:
    with full_disk(1000), pytest.raises(UnwritableFile, match="Make room"):
        files.check_writable(tmp_path / "out")
    assert names(tmp_path) == []


# Reading -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("read", [files.read_bytes, files.read_text, files.read_json, files.read_toml])
@pytest.mark.parametrize("what", ["folder", "pipe", "device", "loop", "missing", "beyond a file"])
def test_what_is_no_file_is_refused_and_never_waited_for(read: Any, what: str, tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "loop":
        path.symlink_to(path)
    elif what == "beyond a file":
        path.touch()
        path = path / "c.json"
    with pytest.raises(PadecastError, match=r"c\.json") as raised:
        read(path)
    assert isinstance(raised.value, MissingFile) == (what == "missing")


@pytest.mark.parametrize("letter", ["a", "é", "中", "🚀"])
def test_large_text_of_any_letters_is_read_as_it_was_written(letter: str, tmp_path: Path) -> None:
    import json

    path = tmp_path / "c.json"
    document = {"name": letter * 1000 + '\\"', "image": "A" * 1_500_000}
    path.write_text(json.dumps(document, ensure_ascii=False))
    assert files.read_json(path, files.Bounds(text=2 * 2**20)) == document


@pytest.mark.parametrize("text", ["~nobody_at_all/x", "a\0b", "x" * 5000])
def test_a_path_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(PadecastError, match="the pipeline"):
        files.locate(text, "the pipeline")
