"""Worlds like real models that were measured, by the names of their result files."""

from __future__ import annotations

WORLDS = {
    "scenes-as-flux": "Scenes as FLUX",
    "scenes-as-flux-50": "Scenes as FLUX, 50 steps",
    "digits-matched": "Digits, matched",
    "digits-matched-50": "Digits, matched, 50 steps",
    "motion-as-wan": "Motion as Wan",
}
MORE = {"motion-as-wan-64": "Motion as Wan"}
"""The same with more seeds and fewer methods."""
