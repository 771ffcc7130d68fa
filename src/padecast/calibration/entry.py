"""How the winner of one budget is written in a calibration file, and read again."""

from __future__ import annotations

from itertools import groupby
from statistics import fmean
from typing import Any

from padecast.calibration.candidate import Candidate, Measured, Offsets
from padecast.calibration.choice import Choice
from padecast.calibration.schema import steps_of


def write(choice: Choice) -> dict[str, Any]:
    """Return plain data: the plan, its forecaster with offsets, what it measured, and what it was chosen among."""
    best = choice.best
    samples = {str(seed): round(value, 3) for seed, value in best.psnr.items()}
    return {
        "plan": best.candidate.plan,
        "forecaster": best.candidate.forecaster,
        "retrace": best.candidate.retrace,
        "offsets": _by_stretch(best.candidate.offsets),
        "psnr": {
            "mean": round(fmean(samples.values()), 3),
            "worst": min(samples.values()),
            "held_out": round(choice.held_out, 3),
            "samples": samples,
        },
        "ranking": [
            {
                "plan": m.candidate.plan,
                "forecaster": m.candidate.forecaster,
                "retrace": m.candidate.retrace,
                "psnr": round(fmean(m.psnr.values()), 3),
                "samples": len(m.psnr),
            }
            for m in choice.ranking
        ],
    }


def _by_stretch(offsets: Offsets) -> dict[str, Any]:
    """Write offsets of neighbouring steps that are alike under one key: ``"5-8"``."""
    written: dict[str, Any] = {}
    for (rows, _), group in groupby(enumerate(offsets), key=lambda entry: (entry[1][1], entry[1][0] - entry[0])):
        places = [step for _, (step, _) in group]
        written[f"{places[0]}-{places[-1]}"] = [list(row) for row in rows]
    return written


def read(entry: dict[str, Any]) -> Choice:
    """Read what :func:`write` returned."""
    offsets = tuple(
        (step, tuple(map(tuple, rows))) for stretch, rows in entry["offsets"].items() for step in steps_of(stretch)
    )
    samples = {int(seed): value for seed, value in entry["psnr"]["samples"].items()}
    ranking = tuple(
        Measured(
            Candidate(row["plan"], row["forecaster"], retrace=row["retrace"]),
            dict.fromkeys(range(row["samples"]), row["psnr"]),
        )
        for row in entry["ranking"]
    )
    best = Measured(Candidate(entry["plan"], entry["forecaster"], offsets, entry["retrace"]), samples)
    return Choice(best, entry["psnr"]["held_out"], ranking)
