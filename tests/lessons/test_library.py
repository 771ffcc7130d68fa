"""Libraries: nothing is lost by two that write at once, and files that cannot be used are left alone."""

from __future__ import annotations

import json
import multiprocessing
import threading
from pathlib import Path

import filelock
import pytest

from padecast import DamagedFile, InvalidOption, PadecastWarning, UnknownName
from padecast.lessons import Identity, Lesson, Library, library
from padecast.lessons.analytic import make_look

WHO = Identity("DiT")
OTHER = Identity("DiT", guidance=3.0)


def path_of(folder: Path) -> Path:
    path = Library(folder).path_of(WHO.key)
    assert path is not None
    return path


def test_what_is_added_is_there_for_the_next_process(tmp_path: Path) -> None:
    assert Library(tmp_path).get(WHO) is None
    Library(tmp_path).add(WHO, make_look(8))
    lesson = Library(tmp_path).add(WHO, make_look(8, seed=5))
    again = Library(tmp_path).get(WHO)
    assert again is not None and again.samples == lesson.samples == 4 and again.runs == 2
    assert Library(tmp_path).get(OTHER) is None


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path))
    lessons = Library(False)
    lessons.add(WHO, make_look(8))
    assert lessons.get(WHO) is not None and lessons.folder is None
    assert [entry.path for entry in lessons.list()] == [None]
    assert not list(tmp_path.iterdir())


def test_the_usual_folder_is_in_the_cache_and_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PADECAST_LESSONS", raising=False)
    folder = Library().folder
    assert folder is not None and folder.name == "lessons" and "padecast" in str(folder)
    monkeypatch.setenv("PADECAST_LESSONS", str(tmp_path / "mine"))
    assert Library().folder == tmp_path / "mine"


def teach(folder: Path, seed: int, count: int) -> None:
    for number in range(count):
        Library(folder).add(WHO, make_look(6, samples=1, seed=seed + number))


def test_threads_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    threads = [threading.Thread(target=teach, args=(tmp_path, 10 * k, 5)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lesson = Library(tmp_path).get(WHO)
    assert lesson is not None and lesson.runs == lesson.samples == 20


@pytest.mark.slow
def test_processes_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=teach, args=(tmp_path, 100 * k, 8)) for k in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    lesson = Library(tmp_path).get(WHO)
    assert lesson is not None and lesson.runs == 16


@pytest.mark.parametrize("schema", [0, 99])
def test_a_file_that_cannot_be_used_is_named_and_left_alone(tmp_path: Path, schema: int) -> None:
    path = Lesson(WHO).add(make_look(6)).save(path_of(tmp_path))
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "schema": schema}))
    before, lessons = path.read_bytes(), Library(tmp_path)
    with pytest.warns(PadecastWarning, match="left as it is"):
        assert lessons.get(WHO) is None
    with pytest.warns(PadecastWarning, match="left as it is"):
        assert lessons.add(WHO, make_look(6)).runs == 1
    lesson = lessons.get(WHO)
    assert lesson is not None and lesson.runs == 1
    assert path.read_bytes() == before
    entry = next(entry for entry in lessons.list() if entry.path == path)
    assert entry.lesson is None and "schema" in entry.fact
    with pytest.raises(DamagedFile):
        Library(tmp_path).show(WHO.key)


def test_a_file_of_another_identity_is_not_taken_for_this_one(tmp_path: Path) -> None:
    Lesson(OTHER).add(make_look(6)).save(path_of(tmp_path))
    lessons = Library(tmp_path)
    assert lessons.get(WHO) is None
    before = path_of(tmp_path).read_bytes()
    with pytest.warns(PadecastWarning, match="another model"):
        assert lessons.add(WHO, make_look(6)).identity == WHO
    assert path_of(tmp_path).read_bytes() == before


def test_where_nothing_can_be_written_memory_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    lessons = Library(tmp_path / "file" / "folder")
    with pytest.warns(PadecastWarning, match="was not written"):
        lessons.add(WHO, make_look(6))
    lesson = lessons.get(WHO)
    assert lesson is not None and lesson.runs == 1


def test_a_lock_that_is_held_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "PATIENCE", 0.05)
    path = path_of(tmp_path)
    with (
        filelock.FileLock(path.with_name(f".{path.name}.lock")),
        pytest.warns(PadecastWarning, match="was not written"),
    ):
        assert Library(tmp_path).add(WHO, make_look(6)).runs == 1
    assert not path.exists()


def test_lessons_are_listed_shown_exported_taken_and_removed(tmp_path: Path) -> None:
    lessons = Library(tmp_path / "a")
    for identity in (WHO, OTHER):
        lessons.add(identity, make_look(6))
    assert [entry.key for entry in lessons.list()] == sorted([WHO.key, OTHER.key])
    assert lessons.show(WHO.key[:8]).identity == WHO
    file = lessons.export(WHO.key, tmp_path / "b.json")
    other = Library(tmp_path / "c")
    assert other.take(file).runs == 1
    lessons.remove(WHO.key)
    assert [entry.key for entry in lessons.list()] == [OTHER.key]
    assert not path_of(tmp_path / "a").exists()


def test_what_is_taken_twice_counts_once(tmp_path: Path) -> None:
    home, away = Library(tmp_path / "home"), Library(tmp_path / "away")
    home.add(WHO, make_look(6))
    first = home.export(WHO.key, tmp_path / "first.json")
    for _ in range(2):
        assert away.take(first).runs == 1
    away.add(WHO, make_look(6, seed=7))
    assert away.take(first).runs == 2, "it has learnt on, and has the runs of the file already"
    assert home.take(away.export(WHO.key, tmp_path / "back.json")).runs == 2, "of two runs one is new"
    home.add(WHO, make_look(6, seed=8))
    away.add(WHO, make_look(6, seed=9))
    before = home.get(WHO)
    with pytest.raises(InvalidOption, match="2 runs are in both, and each has others"):
        home.take(away.export(WHO.key, tmp_path / "apart.json"))
    after = home.get(WHO)
    assert before is not None and after is not None and before.runs == after.runs == 3


def test_a_file_of_before_runs_had_digests_is_known_again(tmp_path: Path) -> None:
    document = Lesson(WHO).add(make_look(6)).to_dict()
    del document["looks"][0]["digests"]
    (tmp_path / "old.json").write_text(json.dumps(document))
    library = Library(tmp_path / "folder")
    assert [library.take(tmp_path / "old.json").runs for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("key", ["", "zz"])
def test_a_key_that_is_not_there_is_said(tmp_path: Path, key: str) -> None:
    with pytest.raises(UnknownName, match="unknown lesson"):
        Library(tmp_path).show(key)


def test_a_key_of_several_is_said(tmp_path: Path) -> None:
    lessons = Library(tmp_path)
    keys = set[str]()
    for number in range(40):
        keys.add(Identity("DiT", guidance=float(number)).key)
        lessons.add(Identity("DiT", guidance=float(number)), make_look(2))
    first = next(key[0] for key in keys if sum(other[0] == key[0] for other in keys) > 1)
    with pytest.raises(UnknownName, match="lessons begin with"):
        lessons.show(first)
