"""What a calibration has found so far, line by line in a file, so that an interrupted one goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from padecast import files
from padecast._errors import CalibrationMismatch, DamagedFile
from padecast.calibration.matching import Schedule
from padecast.calibration.schema import (
    LARGEST,
    PARTS,
    SEEDS,
    check_grid,
    check_statistic,
)
from padecast.calibration.statistic import DIGITS, Statistic
from padecast.files.fields import (
    Kinds,
    Refuse,
    check_fields,
    check_number,
    check_numbers,
    check_texts,
    check_whole,
    whole_of,
)

KIND = "padecast calibration in progress"
LINES: dict[str, Mapping[str, Kinds]] = {
    "trial": {"trial": str, "psnr": dict},
    "fit": {"fit": str, "offsets": list},
    "scouted": {"scouted": list},
    "seeds": {"seeds": list, "size": int, "schedule": dict, "statistic": dict},
}
"""What lines after the heading hold, by what they begin with."""
GRID = {name: kind for name, kind in PARTS["schedule"].items() if name != "steps"}
PRODUCTS, NUMBERS = 8_000_000, 500_000
"""Inner products, and other numbers, that a journal may hold: 64 MB, and as much."""


class Kept(NamedTuple):
    """What a journal has of one call: its inner products, the sampler's grid, and the size of the projection."""

    statistic: Statistic
    schedule: Schedule
    size: int


class Journal:
    """Lines of JSON: a heading that says what is calibrated, then every measurement as it is made.

    A file that is there is read and added to, never rewritten: what it has is safe from a full disk and a killed
    process.

    Args:
        path: The file; without one nothing is kept.
        heading: What is calibrated. A journal with another heading is refused.

    Raises:
        CalibrationMismatch: If the file is of another calibration, or is damaged other than by being cut off.
        UnwritableFile: If the disk is full, here or in what is kept later.
    """

    def __init__(self, path: Path | None, heading: dict[str, Any]) -> None:
        self._path = path
        self._products = self._numbers = 0
        self.scores: dict[str, dict[int, float]] = {}
        self.fitted: dict[str, Any] = {}
        self.statistics: dict[tuple[int, ...], Kept] = {}
        self.scouted: list[str] = []
        request = json.loads(json.dumps({"kind": KIND, **heading}))
        if path is None:
            return
        if path.exists() and (not path.is_file() or path.stat().st_size):
            self._read(path, request)
        else:
            self._append(request)

    def score(self, key: str, scores: dict[int, float]) -> None:
        """Keep measured PSNRs of a trial."""
        self._append({"trial": key, "psnr": {str(seed): value for seed, value in scores.items()}})

    def fit(self, key: str, offsets: Any) -> None:
        """Keep fitted offsets."""
        self.fitted[key] = offsets
        self._append({"fit": key, "offsets": offsets})

    def scout(self, plans: list[str]) -> None:
        """Keep the plans that the tolerance policy made."""
        self.scouted = plans
        self._append({"scouted": plans})

    def statistic(self, seeds: tuple[int, ...], entry: Kept) -> None:
        """Keep the inner products of one call."""
        self.statistics[seeds] = entry
        details = {"size": entry.size, "schedule": asdict(entry.schedule), "statistic": entry.statistic.to_dict(DIGITS)}
        self._append({"seeds": list(seeds), **details})

    def _append(self, entry: dict[str, Any]) -> None:
        if self._path is None:
            return
        try:
            text = json.dumps(entry, allow_nan=False)
        except ValueError:  # a weight that is not finite: found again rather than read back
            return
        files.append(self._path, text)

    def _read(self, path: Path, request: dict[str, Any]) -> None:
        """Take up what a file has."""
        try:
            entries = files.read_lines(path)
            number, heading = next(entries, (0, {}))
            _check_heading(path, request, heading if number == 1 and isinstance(heading, dict) else {})
            for number, entry in entries:
                self._take(entry, partial(refuse_file, path, f"line {number}: "))
        except DamagedFile as error:
            raise refuse_file(path, "", error.fact) from error

    def _take(self, entry: Any, refuse: Refuse) -> None:
        """Take up one line."""
        kind = next((kind for kind in LINES if isinstance(entry, dict) and kind in entry), None)
        if kind is None:
            raise refuse("it says neither what was measured nor what was fitted")
        check_fields(refuse, "", entry, LINES[kind])
        if kind == "trial":
            self.scores.setdefault(entry["trial"], {}).update(self._scores(entry["psnr"], refuse))
        elif kind == "fit":
            self.fitted[entry["fit"]] = tuple(self._offsets(row, refuse) for row in entry["offsets"])
        elif kind == "scouted":
            check_texts(refuse, "scouted", entry["scouted"])
            if any(set(plan) - {"C", "."} for plan in entry["scouted"]):
                raise refuse("scouted has a plan that is not made of C and .")
            self.scouted = entry["scouted"]
        else:
            self._take_statistic(entry, refuse)

    def _take_statistic(self, entry: dict[str, Any], refuse: Refuse) -> None:
        for place, seed in enumerate(entry["seeds"][:SEEDS]):
            check_whole(refuse, f"seeds[{place}]", seed, -LARGEST, 2 * LARGEST)
        check_whole(refuse, "size", entry["size"], 0, LARGEST)
        check_fields(
            refuse, "schedule.", entry["schedule"], {k: v for k, v in PARTS["schedule"].items() if k != "steps"}
        )
        check_fields(refuse, "statistic.", entry["statistic"], PARTS["statistic"])
        steps = len(entry["schedule"]["timesteps"])
        check_grid(refuse, entry["schedule"], steps)
        check_statistic(refuse, entry["statistic"], steps)
        self._products = _limit(refuse, self._products + len(entry["statistic"]["joint"]) ** 2, PRODUCTS)
        statistic = Statistic.from_dict(entry["statistic"])
        self.statistics[tuple(entry["seeds"])] = Kept(statistic, Schedule.read(entry["schedule"]), entry["size"])

    def _scores(self, scores: dict[str, Any], refuse: Refuse) -> dict[int, float]:
        self._numbers = _limit(refuse, self._numbers + len(scores) + 1, NUMBERS)
        for seed, value in scores.items():
            if whole_of(seed) is None:
                raise refuse(f"psnr has {files.line(seed, 40)!r} for a seed")
            check_number(refuse, f"psnr.{seed}", value)
        return {int(seed): value for seed, value in scores.items()}

    def _offsets(self, row: Any, refuse: Refuse) -> tuple[int, tuple[tuple[float, ...], ...]]:
        if not isinstance(row, list) or len(row) != 2 or not isinstance(row[1], list):
            raise refuse("offsets are not pairs of a step and its rows")
        step, rows = row
        check_whole(refuse, "a step of offsets", step, 0, LARGEST)
        for numbers in rows:
            check_numbers(refuse, "a row of offsets", numbers)
            self._numbers = _limit(refuse, self._numbers + len(numbers) + 1, NUMBERS)
        return step, tuple(map(tuple, rows))


def refuse_file(path: Path, where: str, what: str) -> CalibrationMismatch:
    """Build the error for a journal that cannot be taken up."""
    return CalibrationMismatch(
        f"{files.line(path, 400)} is not a calibration that can be gone on with: {where}{what}.\n"
        "Usual cause: another file, or one that was edited. Give another file for resume, or delete this one to begin "
        "anew."
    )


def _limit(refuse: Refuse, count: int, most: int) -> int:
    if count > most:
        raise refuse(f"the file has more than {most} numbers")
    return count


def _check_heading(path: Path, request: dict[str, Any], heading: dict[str, Any]) -> None:
    differing = sorted(k for k in {*request, *heading} if request.get(k) != heading.get(k))
    if differing:
        raise CalibrationMismatch(
            f"{files.line(path, 400)} keeps another calibration: {files.line(', '.join(differing))} differ.\n"
            "Usual cause: other seeds, budgets or a sampler than when it was interrupted. Give another file for "
            "resume, or delete this one to begin anew."
        )
