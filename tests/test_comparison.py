"""Result files of the comparison: new cells take the place of old ones, and all others stay."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture
def comparison(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("comparison")


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


def test_new_cells_replace_old_ones_and_the_others_stay(comparison: Any) -> None:
    before = document({("fora", 6): 30.0, ("fora", 8): 33.0, ("adaptive", 6): 36.0})
    found = comparison.kept(before, document({("adaptive", 6): 40.0, ("spectrum", 6): 22.0}))
    chapter = found["chapters"]["digits, hard"]
    assert {(row["name"], row["wanted"]): row["psnr"] for row in chapter["rows"]} == {
        ("fora", 6): 30.0,
        ("fora", 8): 33.0,
        ("adaptive", 6): 40.0,
        ("spectrum", 6): 22.0,
    }
    assert len(chapter["refusals"]) == 1 and len(found["provenance"]) == 2 and found["replaced"] == 1
    assert comparison.kept(found, document({("adaptive", 6): 40.0, ("spectrum", 6): 22.0})) == found  # again


def test_other_settings_stay(comparison: Any) -> None:
    found = comparison.kept(document({("fora", 6): 30.0}), document({("fora", 6): 35.0}, "digits, easy"))
    assert {title: chapter["rows"][0]["psnr"] for title, chapter in found["chapters"].items()} == {
        "digits, hard": 30.0,
        "digits, easy": 35.0,
    }


def test_cells_of_other_seeds_are_not_mixed(comparison: Any) -> None:
    with pytest.raises(SystemExit, match="sampled otherwise"):
        comparison.kept(document({("fora", 6): 30.0}), document({("fora", 6): 30.0}, seeds=8))
    with pytest.raises(SystemExit, match="sampled otherwise"):  # by other weights
        comparison.kept(document({("fora", 6): 30.0}), document({("fora", 6): 30.0}, read=0.9))
