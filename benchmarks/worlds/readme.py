"""README's table of worlds like real models: mean PSNR by method, world and computed steps."""

from __future__ import annotations

from benchmarks.common import Document, render
from benchmarks.comparison.tables import CLOSE

WORLDS = {
    "scenes-as-flux": "Scenes as FLUX",
    "scenes-as-flux-50": "Scenes as FLUX, 50 steps",
    "digits-matched": "Digits, matched",
    "digits-matched-50": "Digits, matched, 50 steps",
    "motion-as-wan": "Motion as Wan",
}
MORE = {"motion-as-wan-64": "Motion as Wan"}
"""The same with more seeds and fewer methods."""
OURS = ("tc-pade", "adaptive", "learned", "calibrated quick", "calibrated normal")
"""Rows that count without their variants."""
Cells = dict[tuple[str, str, int], tuple[float, str]]


def name_of(world: str) -> str:
    """Return a world's title inside a sentence."""
    return WORLDS[world].lower().replace("flux", "FLUX").replace("wan", "Wan")


def measure(documents: dict[str, Document]) -> Cells:
    """Return the mean PSNR, and how it is written, by method, world and computed steps: of variants the best."""
    cells: Cells = {}
    for world, document in documents.items():
        (chapter,) = document["chapters"].values()
        for row in chapter["rows"]:
            plain = row["name"].partition(":")[0]
            if row["nfe"] - row["wanted"] <= CLOSE and (plain not in OURS or plain == row["name"]):
                mean = row["psnr"]["mean"]
                fewer = f" ({row['nfe']:.1f})" if row["wanted"] - row["nfe"] > CLOSE else ""
                key = (plain, world, row["wanted"])
                cells[key] = max(cells.get(key, (0.0, "")), (mean, f"{mean:.1f}{fewer}"))
    return cells


def compose(worlds: dict[str, Document]) -> str:
    """Return the table with its text."""
    documents = {name: document for name, document in worlds.items() if not name.endswith("-50")}
    counts = {
        name_of(world): len(chapter["settings"]["seeds"])
        for world, document in documents.items()
        for chapter in document["chapters"].values()
    }
    return render(
        "worlds/readme.md.jinja",
        counts=counts,
        cells=measure(documents),
        columns=[(world, nfe) for world in documents for nfe in (6, 8, 10)],
        titles=WORLDS,
        name_of=name_of,
        worlds=list(documents),
        ours=OURS,
    )
