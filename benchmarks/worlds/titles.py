"""Worlds like real models that were measured, by the names of their result files."""

from __future__ import annotations

WORLDS = {
    "scenes-as-flux": "Scenes as FLUX",
    "scenes-as-flux-50": "Scenes as FLUX, 50 steps",
    "digits-matched": "Digits, matched",
    "digits-matched-50": "Digits, matched, 50 steps",
    "motion-as-wan-64": "Motion as Wan",
    "motion-as-wan": "Motion as Wan, 16 seeds",
}
FEW = ("Motion as Wan, 16 seeds",)
"""All methods on few seeds, of which the best were measured on more."""
