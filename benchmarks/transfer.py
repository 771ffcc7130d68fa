"""The tolerance that gives 8 of 20 steps in one setting, used in the other.

    python benchmarks/transfer.py

Reads the tolerances from benchmarks/results/digits-hard.json and digits-easy.json, where they were tuned on development
seeds, and writes benchmarks/results/digits-transfer.json.
"""

from __future__ import annotations

from common import RESULTS, SETTINGS, progress, task, write

from padecast import files, lab


def tuned(setting: str) -> str:
    """Return the method that computes 8 steps in a setting, as it was written down."""
    document = files.read_json(RESULTS / f"digits-{setting}.json")
    (row,) = (r for r in document["results"] if r["name"] == "adaptive" and r["wanted"] == 8)
    return str(row["written"])


def main() -> None:
    """Measure in each setting what was tuned in the other."""
    documents = {}
    for setting, origin in zip(SETTINGS, reversed(SETTINGS), strict=True):
        work, entry = task(setting), lab.Entry.of(tuned(origin))
        with progress(lab.calls(work, 1), setting) as tell:
            documents[setting] = {"tuned_in": origin, **lab.measure(work, [entry], progress=tell).to_dict()}
        result = documents[setting]["results"][1]
        print(
            f"{result['written']} (8 steps in {origin}) used in {setting}: {result['nfe']:.2f} computed, "
            f"{result['psnr']['mean']:.2f} dB, 5th percentile {result['psnr']['p5']:.2f}"
        )
    write("digits-transfer.json", documents)


if __name__ == "__main__":
    main()
