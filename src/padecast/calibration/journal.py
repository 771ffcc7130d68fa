"""What a calibration has found so far, line by line in a file, so that an interrupted one goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from padecast._errors import CalibrationMismatch
from padecast.calibration.statistic import Statistic

KIND = "padecast calibration in progress"


class Journal:
    """Lines of JSON: a heading that says what is calibrated, then every measurement as it is made.

    Args:
        path: The file; without one nothing is kept.
        heading: What is calibrated. A journal with another heading is refused.

    Raises:
        CalibrationMismatch: If the file is of another calibration.
    """

    def __init__(self, path: Path | None, heading: dict[str, Any]) -> None:
        self._path = path
        self.scores: dict[str, dict[int, float]] = {}
        self.fitted: dict[str, Any] = {}
        self.statistics: dict[tuple[int, ...], dict[str, Any]] = {}
        self.scouted: list[str] = []
        wanted = json.loads(json.dumps({"kind": KIND, **heading}))
        if path is None:
            return
        if path.exists() and path.stat().st_size:
            self._read(path, wanted)
        else:
            self._append(wanted)

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

    def statistic(self, seeds: tuple[int, ...], statistic: Statistic, details: dict[str, Any]) -> None:
        """Keep the inner products of one call."""
        self.statistics[seeds] = {**details, "statistic": statistic.to_dict()}
        self._append({"seeds": list(seeds), **self.statistics[seeds]})

    def _append(self, line: dict[str, Any]) -> None:
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(line) + "\n")

    def _read(self, path: Path, wanted: dict[str, Any]) -> None:
        lines = path.read_text(encoding="utf-8").splitlines()
        try:
            heading = json.loads(lines[0])
        except ValueError:
            heading = {}
        differing = sorted(k for k in {*wanted, *heading} if wanted.get(k) != heading.get(k))
        if differing:
            raise CalibrationMismatch(
                f"{path} keeps another calibration: {', '.join(differing)} differ.\n"
                "Usual cause: other seeds, budgets or a sampler than when it was interrupted. Give another file for "
                "resume, or delete this one to begin anew."
            )
        kept = [lines[0]]
        for line in lines[1:]:
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # cut off when it was interrupted
            kept.append(line)
            if "trial" in entry:
                own = self.scores.setdefault(entry["trial"], {})
                own.update({int(seed): value for seed, value in entry["psnr"].items()})
            elif "fit" in entry:
                self.fitted[entry["fit"]] = tuple((i, tuple(map(tuple, rows))) for i, rows in entry["offsets"])
            elif "scouted" in entry:
                self.scouted = entry["scouted"]
            else:
                self.statistics[tuple(entry.pop("seeds"))] = entry
        path.write_text("\n".join(kept) + "\n", encoding="utf-8")
