"""Result files of the comparison: new cells take the place of old ones, and all others stay."""

from __future__ import annotations

from typing import Any

import pytest
from benchmarks.comparison.cells import merge
from benchmarks.comparison.verdicts import measure_leads


def document(
    rows: dict[tuple[str, int], float], title: str = "digits, hard", seeds: int = 4, read: float = 1.0
) -> dict[str, Any]:
    chapter = {
        "settings": {"seeds": list(range(seeds))},
        "uncached": {"digit read": read},
        "rows": [{"name": name, "wanted": wanted, "psnr": psnr} for (name, wanted), psnr in rows.items()],
        "refusals": [{"name": "diffusers.seacache", "wanted": 6, "why": "not this model"}],
    }
    return {"provenance": [{"cells": len(rows)}], "chapters": {title: chapter}}


def test_new_cells_replace_old_ones_and_the_others_stay() -> None:
    before = document({("fora", 6): 30.0, ("fora", 8): 33.0, ("adaptive", 6): 36.0})
    found = merge(before, document({("adaptive", 6): 40.0, ("spectrum", 6): 22.0}))
    chapter = found["chapters"]["digits, hard"]
    assert {(row["name"], row["wanted"]): row["psnr"] for row in chapter["rows"]} == {
        ("fora", 6): 30.0,
        ("fora", 8): 33.0,
        ("adaptive", 6): 40.0,
        ("spectrum", 6): 22.0,
    }
    assert len(chapter["refusals"]) == 1 and len(found["provenance"]) == 2 and found["replaced"] == 1
    assert merge(found, document({("adaptive", 6): 40.0, ("spectrum", 6): 22.0})) == found  # again


def test_other_settings_stay() -> None:
    found = merge(document({("fora", 6): 30.0}), document({("fora", 6): 35.0}, "digits, easy"))
    assert {title: chapter["rows"][0]["psnr"] for title, chapter in found["chapters"].items()} == {
        "digits, hard": 30.0,
        "digits, easy": 35.0,
    }


def test_cells_of_other_seeds_are_not_mixed() -> None:
    with pytest.raises(SystemExit, match="sampled otherwise"):
        merge(document({("fora", 6): 30.0}), document({("fora", 6): 30.0}, seeds=8))
    with pytest.raises(SystemExit, match="sampled otherwise"):  # by other weights
        merge(document({("fora", 6): 30.0}), document({("fora", 6): 30.0}, read=0.9))


def reached(name: str, psnr: float, fid: float, read: float = 1.0, nfe: float = 6.0) -> dict[str, Any]:
    figures = {"psnr": {"mean": psnr}, "ssim": {"mean": 0.5}, "scores": {"digit read": read, "FID-digits": fid}}
    return {"name": name, "wanted": 6, "nfe": nfe, **figures}


def test_calibrated_stands_beside_the_best_other_in_every_figure_by_itself() -> None:
    made = document({})
    chapter = made["chapters"]["digits, hard"] | {"refusals": []}
    chapter["settings"]["steps"] = 20
    chapter["rows"] = [
        reached("calibrated", 41.0, fid=0.2),
        reached("fora", 30.0, fid=0.1, read=0.9),  # the better FID
        reached("taylorseer", 33.0, fid=0.5, read=0.9),  # the best other PSNR
        reached("adaptive", 45.0, fid=0.0),  # padecast's own
        reached("diffusers.pab", 45.0, fid=0.0),  # leaves out attention alone
        reached("teacache", 45.0, fid=0.0, nfe=7.0),  # missed the number
    ]
    made["chapters"]["digits, hard"] = chapter
    (line,) = measure_leads([made]).splitlines()[2:]
    assert [cell.strip() for cell in line.strip("| ").split("|")] == [
        "digits, hard, 6",
        "41.00, +8.00 on taylorseer",
        "0.5000, level with taylorseer and 1 more",
        "1.000, +0.100 on taylorseer and 1 more",
        "0.200, **-0.100** on fora",
        "1.000",
    ]
