"""The tolerance that gives 8 of 20 steps in one setting, used in the other.

    python benchmarks/transfer.py

Writes benchmarks/results/digits-transfer.json.
"""

from __future__ import annotations

from common import SETTINGS, progress, task, write

from padecast import lab


def main() -> None:
    """Tune in each setting on the development seeds, measure in both."""
    tuned = {s: lab.tune(task(s).tuning(), lab.Entry.of("adaptive", wanted=8), 8) for s in SETTINGS}
    documents = {}
    for setting in SETTINGS:
        work = task(setting)
        with progress(lab.calls(work, len(tuned)), setting) as tell:
            documents[setting] = lab.measure(work, list(tuned.values()), progress=tell).to_dict()
        for origin, result in zip(tuned, documents[setting]["results"][1:], strict=True):
            result["tuned_in"] = origin
            print(
                f"{result['written']} (8 steps in {origin}) used in {setting}: {result['nfe']:.2f} computed, "
                f"{result['psnr']['mean']:.2f} dB, 5th percentile {result['psnr']['p5']:.2f}"
            )
    write("digits-transfer.json", documents)


if __name__ == "__main__":
    main()
