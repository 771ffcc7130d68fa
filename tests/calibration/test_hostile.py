"""Calibrations that are damaged or meant to do harm: refused by the place in the file, in little memory."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.files.meter import at_most, full_disk

from padecast import Calibration, CalibrationMismatch, PadecastError, zoo
from padecast.calibration import Statistic
from padecast.calibration.journal import Journal
from padecast.cli.plan import described

Change = Callable[[dict[str, Any]], Any]
SMALL = Path(__file__).parent / "files" / "schema-1.json"


def small() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(SMALL.read_text())
    return document


def entry(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(iter(document["plans"].values()))
    return found


def forecast(document: dict[str, Any]) -> str:
    place = entry(document)["plan"].index(".")
    return f"{place}-{place}"


def ranked(**fields: Any) -> Change:
    row = {"plan": "CC..", "forecaster": "reuse", "psnr": 1.0, "samples": 1, **fields}
    return lambda document: entry(document).update(ranking=[row])


def psnr(**fields: Any) -> Change:
    return lambda document: entry(document)["psnr"].update(fields)


def top(**fields: Any) -> Change:
    return lambda document: document.update(fields)


def part(name: str, **fields: Any) -> Change:
    return lambda document: document[name].update(fields)


def offsets(*stretches: str) -> Change:
    rows = [[0.1]] * 2
    return lambda document: entry(document).update(
        offsets={stretch.replace("HERE", forecast(document)): rows for stretch in stretches}
    )


BOMBS: dict[str, tuple[Change, str]] = {
    "a ranking of 1e9 samples": (ranked(samples=10**9), "ranking"),
    "a ranking of more samples than seeds": (ranked(samples=4), "ranking"),
    "a ranking of no samples": (ranked(samples=0), "ranking"),
    "a ranking of 1e9 samples in the last line": (
        lambda d: list(d["plans"].values())[-1].update(
            ranking=[{"plan": "C", "forecaster": "x", "psnr": 1.0, "samples": 2**62}]
        ),
        "ranking",
    ),
    "derivatives of order 1e9": (lambda d: entry(d).update(forecaster="taylor:order=999999999"), "forecaster"),
    "a line of degree 1e9": (lambda d: entry(d).update(forecaster="lagrange:degree=1000000000"), "forecaster"),
    "a filter of 1e9 residuals": (lambda d: entry(d).update(forecaster="wiener:window=1000000000"), "forecaster"),
    "1e30 samples of the statistic": (part("statistic", samples=10**30), "statistic.samples"),
    "1e9 steps": (part("schedule", steps=10**9), "schedule"),
    "stretches of 1e18 steps": (offsets(f"1-{10**18}"), "offsets"),
}

HOSTILE: dict[str, tuple[Change, str]] = {
    "a noise level of 400 digits": (part("schedule", sigmas=[10**400]), "line "),
    "a guidance of 400 digits": (top(guidance=10**400), "line "),
    "a guidance that is NaN": (top(guidance=float("nan")), "guidance"),
    "a sample that is no number": (psnr(samples={"abc": 1.0}), "samples"),
    "a sample in other digits": (psnr(samples={"٣": 1.0}), "samples"),
    "a sample of 5000 digits": (psnr(samples={"9" * 5000: 1.0}), "samples"),
    "a sample twice, as 1 and 01": (psnr(samples={"1": 1.0, "01": 2.0}), "samples"),
    "a stretch in superscript": (offsets("²-²"), "offsets"),
    "a stretch of 5000 digits": (offsets("1-" + "9" * 5000), "offsets"),
    "stretches that overlap": (offsets("HERE", "HERE".replace("HERE", "0HERE")), "offsets"),
    "seeds that are lists": (top(seeds=[[1], [2], [3]]), "seeds"),
    "seeds that are true": (top(seeds=[True, 2, 3]), "seeds"),
    "a seed twice": (top(seeds=[1, 1, 2]), "seeds"),
    "held-out seeds that are words": (top(held_out=["x"]), "held_out"),
    "a held-out PSNR that is NaN": (psnr(held_out=float("nan")), "psnr.held_out"),
    "a mean that is infinite": (psnr(mean=float("inf")), "psnr.mean"),
    "a worst of minus infinity": (psnr(worst=float("-inf")), "psnr.worst"),
    "a PSNR of 1e300": (psnr(mean=1e300), "psnr.mean"),
    "a ranking whose PSNR is NaN": (ranked(psnr=float("nan")), "ranking"),
    "no branches": (part("statistic", branches=[]), "statistic.branches"),
    "branches that are numbers": (part("statistic", branches=[1, 2]), "statistic.branches"),
    "a branch twice": (part("statistic", branches=["a", "a"]), "statistic.branches"),
    "an inner product of 1e308": (
        lambda d: d["statistic"]["joint"][0].__setitem__(0, 1e308),
        "statistic.joint",
    ),
    "settings that are a list": (part("schedule", settings=[1]), "schedule.settings"),
    "a sketch of minus one": (part("sketch", size=-1), "sketch.size"),
    "a name of half a letter": (top(name="\ud800"), "name"),
    "a name of four million letters": (top(name="x" * 4_000_000), "name"),
    "a command that is nested deeply": (top(provenance={"a": json.loads("[" * 100 + "]" * 100)}), "nested"),
    "an empty row of offsets": (lambda d: entry(d).update(offsets={forecast(d): [[], []]}), "offsets"),
}

TEXTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "not JSON"),
    "lists in lists": (b"[" * 100_000, "nested"),
    "tables in tables": (b'{"a":' * 100_000, "nested"),
    "deep in a string that is no string": (b'{"a\\\\": ' + b"[" * 100_000, "nested"),
    "a byte order mark": (b"\xef\xbb\xbf" + SMALL.read_bytes(), "byte order mark"),
    "UTF-16": (SMALL.read_text().encode("utf-16"), "byte order mark"),
    "Latin-1": ('{"kind": "größer"}'.encode("latin-1"), "not UTF-8"),
    "zeros": (b"\0" * 1000, "not JSON"),
    "17 MiB of spaces": (b" " * (17 * 2**20), "more than 16 MiB"),
    "two million lists": (b"[" + b"[]," * 2_000_000 + b"[]]", "values"),
    "two million tables": (b"[" + b'{"":0},' * 2_000_000 + b"{}]", "strings"),
    "a key twice": (SMALL.read_bytes().replace(b'"dtype"', b'"name"', 1), "twice"),
    "a number of a million digits": (b'{"kind": ' + b"9" * 10**6 + b"}", "digits"),
    "the file twice": (SMALL.read_bytes() * 2, "not JSON"),
    "JSON lines": (b'{"a": 1}\n{"b": 2}\n', "not JSON"),
    "a word of JavaScript": (b"NaN", "nan"),
}


def read_and_show(path: Path) -> None:
    loaded = Calibration.load(path)
    described(loaded), str(loaded), float(loaded.guidance or 0.0)
    again = loaded.save(path.with_name("again.json"))
    json.loads(again.read_text(), parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


@pytest.mark.fault("bombs in calibrations")
@pytest.mark.parametrize("name", BOMBS)
def test_a_number_in_a_small_file_takes_no_memory(name: str, tmp_path: Path) -> None:
    document, (change, place) = small(), BOMBS[name]
    change(document)
    path = tmp_path / "bomb.json"
    path.write_text(json.dumps(document))
    with at_most(100), pytest.raises(CalibrationMismatch, match=rf"(?s)bomb\.json.*{place}"):
        Calibration.load(path)


@pytest.mark.fault("hostile calibrations")
@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_hostile_is_refused_by_its_place(name: str, tmp_path: Path) -> None:
    document, (change, place) = small(), HOSTILE[name]
    change(document)
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(document))
    with at_most(100), pytest.raises(CalibrationMismatch, match=rf"(?s)hostile\.json.*{place}"):
        read_and_show(path)


@pytest.mark.fault("files that are no calibrations")
@pytest.mark.parametrize("name", TEXTS)
def test_what_is_no_calibration_is_refused(name: str, tmp_path: Path) -> None:
    data, said = TEXTS[name]
    path = tmp_path / "other.json"
    path.write_bytes(data)
    with at_most(200), pytest.raises(CalibrationMismatch, match=rf"(?s)other\.json.*{said}"):
        read_and_show(path)


def test_a_calibration_within_the_bounds_is_read_whole(tmp_path: Path) -> None:
    document = zoo.calibration("scenes", "50").to_dict()
    path = tmp_path / "c.json"
    path.write_text(json.dumps(document))
    assert Calibration.load(path).to_dict() == document


def test_the_statistic_of_a_model_that_overflows_is_never_written(tmp_path: Path) -> None:
    loaded = Calibration.load(SMALL)
    loaded.statistic.joint[0, 0] = float("inf")
    with pytest.raises(PadecastError, match=r"statistic\.joint\[0\]\[0\] holds inf"):
        loaded.save(tmp_path / "c.json")
    assert list(tmp_path.iterdir()) == []


# Files that are not there, and what files are allowed ---------------------------------------------------------------


@pytest.mark.fault("missing files")
@pytest.mark.parametrize(
    ("there", "asked", "nearest"),
    [
        ("digits-20.json", "digit-20.json", "digits-20.json"),
        ("calibration.json", "calibration.jsn", "calibration.json"),
        ("calibration.json", "Calibration.json", "calibration.json"),
        ("wan.json", "wan", "wan.json"),
        ("flux-28.json", "flux-20.json", "flux-28.json"),
        ("a b.json", "a_b.json", "a b.json"),
        ("notes.md", "calibration.json", None),
        (None, "calibration.json", None),
        (None, "nowhere/calibration.json", None),
    ],
)
def test_a_missing_calibration_is_a_missing_file_and_names_the_nearest(
    there: str | None, asked: str, nearest: str | None, tmp_path: Path
) -> None:
    if there is not None:
        (tmp_path / there).write_text("{}")
    with pytest.raises(FileNotFoundError) as raised:
        Calibration.load(tmp_path / asked)
    assert isinstance(raised.value, PadecastError) and isinstance(raised.value, CalibrationMismatch)
    said = str(raised.value)
    assert str(tmp_path / asked) in said and "padecast calibrate" in said
    assert ("the nearest is" in said) == (nearest is not None)
    assert nearest is None or f"the nearest is {tmp_path / nearest}" in said


@pytest.mark.fault("file modes")
@pytest.mark.parametrize("mask", [0o022, 0o002, 0o027, 0o077, 0o000])
@pytest.mark.parametrize("before", [None, 0o644])
def test_a_calibration_has_the_mode_of_any_file(mask: int, before: int | None, tmp_path: Path) -> None:
    loaded, path, usual = Calibration.load(SMALL), tmp_path / "c.json", os.umask(mask)
    try:
        if before is not None:
            path.touch()
            path.chmod(before)
        loaded.save(path)
    finally:
        os.umask(usual)
    assert stat.S_IMODE(path.stat().st_mode) == (0o666 & ~mask if before is None else before)


# Journals ------------------------------------------------------------------------------------------------------------

HEADING = {"model": "m"}


def journal_of(folder: Path, trials: int = 500) -> Path:
    path = folder / "calibration.part.jsonl"
    journal = Journal(path, HEADING)
    for trial in range(trials):
        journal.score(f"trial {trial}", {0: 30.0})
    return path


@pytest.mark.fault("journals")
@pytest.mark.parametrize("share", [0.0, 0.1, 1 / 3, 0.5, 0.9, 0.99, 1.0])
@pytest.mark.parametrize("ending", ["whole", "cut off", "without its end"])
def test_going_on_with_a_journal_on_a_full_disk_loses_nothing(share: float, ending: str, tmp_path: Path) -> None:
    path = journal_of(tmp_path, 100)
    data = {"whole": path.read_bytes(), "cut off": path.read_bytes() + b'{"trial": "x', "without its end": b""}[ending]
    path.write_bytes(data or path.read_bytes()[:-1])
    before = path.read_bytes()
    with full_disk(int(share * len(before))):
        journal = Journal(path, HEADING)
        with pytest.raises(OSError, match=r"part\.jsonl could not be written: File too large"):
            journal.score("one more", {0: 30.0})
    assert path.read_bytes() in (before, before.removesuffix(b'{"trial": "x'))
    assert len(Journal(path, HEADING).scores) == 100
    Journal(path, HEADING).score("one more", {0: 30.0})
    assert len(Journal(path, HEADING).scores) == 101


@pytest.mark.fault("journals")
@pytest.mark.parametrize("room", [1, 10, 30, 48])
def test_a_line_that_does_not_fit_is_taken_back(room: int, tmp_path: Path) -> None:
    path = journal_of(tmp_path, 10)
    before, journal = path.read_bytes(), Journal(path, HEADING)
    with full_disk(len(before) + room), pytest.raises(OSError, match="could not be written"):
        journal.score("a trial whose line is longer than there is room", {0: 30.0})
    assert path.read_bytes() == before
    journal.score("again", {0: 30.0})
    assert [json.loads(line) for line in path.read_text().splitlines()][-1] == {"trial": "again", "psnr": {"0": 30.0}}


def statistic_line(**changes: Any) -> dict[str, Any]:
    import torch

    one = Statistic(("a",), 1, torch.eye(2).double(), torch.eye(2).double(), torch.ones(1).double())
    grid = {"scheduler": "S", "timesteps": [1.0, 0.0], "sigmas": [], "strides": [0.5, 0.5]}
    return {"seeds": [0], "size": 0, "schedule": grid, "statistic": one.to_dict(), **changes}


DAMAGED_LINES: dict[str, Any] = {
    "a list": [1],
    "neither": {"a": 1},
    "a trial without PSNR": {"trial": "x"},
    "a trial that is a number": {"trial": 1, "psnr": {}},
    "a PSNR that is a word": {"trial": "x", "psnr": {"0": "high"}},
    "a PSNR that is NaN": {"trial": "x", "psnr": {"0": float("nan")}},
    "a seed that is a word": {"trial": "x", "psnr": {"first": 1.0}},
    "scouted plans that are numbers": {"scouted": [1]},
    "scouted plans that are none": {"scouted": ["fora"]},
    "offsets that are a number": {"fit": "x", "offsets": 1},
    "offsets that are no pairs": {"fit": "x", "offsets": [[1]]},
    "offsets of words": {"fit": "x", "offsets": [[1, [["a"]]]]},
    "a statistic of 1e30 samples": statistic_line(statistic={**statistic_line()["statistic"], "samples": 10**30}),
    "a statistic without branches": statistic_line(statistic={}),
    "a statistic of another length": statistic_line(statistic={**statistic_line()["statistic"], "joint": [[1.0]]}),
    "seeds that are lists": statistic_line(seeds=[[1]]),
    "a grid that is empty": statistic_line(schedule={}),
    "a size of minus one": statistic_line(size=-1),
}


@pytest.mark.fault("journals")
@pytest.mark.parametrize("name", DAMAGED_LINES)
def test_a_damaged_line_is_named(name: str, tmp_path: Path) -> None:
    path = journal_of(tmp_path, 2)
    path.write_text(path.read_text() + json.dumps(DAMAGED_LINES[name]) + "\n")
    with at_most(100), pytest.raises(CalibrationMismatch, match=r"(?s)part\.jsonl.*line 4"):
        Journal(path, HEADING)


@pytest.mark.fault("journals")
@pytest.mark.parametrize("heading", ["[1]", "1", '"x"', "null", "[" * 100_000, "NaN", ""])
def test_a_heading_that_is_none_is_another_calibration(heading: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    path.write_text(heading + '\n{"trial": "x", "psnr": {"0": 1.0}}\n')
    with pytest.raises(CalibrationMismatch, match=r"kept\.jsonl"):
        Journal(path, HEADING)
