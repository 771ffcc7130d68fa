"""Denoiser speedup of fixed plans over the uncached model, alternating in one process, batch 16.

    python benchmarks/speed.py

Writes benchmarks/results/digits-speed.json. The speedup is the median time of the uncached calls over the median
time of the accelerated calls made in turn with them; efficiency is its share of steps / NFE.
"""

from __future__ import annotations

from dataclasses import replace

from common import progress, task, write

from padecast import lab
from padecast.methods import method
from padecast.policies import Interval

REPEATS = 5


def main() -> None:
    """Measure, write, print."""
    work = task("hard", seeds=tuple(range(20_000, 20_016)))
    plans = {6: Interval(every=4), 8: Interval(every=4, warmup=3), 10: Interval(every=3, warmup=3)}
    chosen = [("fora", 6), ("tc-pade", 6), ("tc-pade", 8), ("tc-pade", 10), ("spectrum", 8)]
    entries = [
        replace(lab.Entry.of(replace(method(name), policy=plans[nfe]), wanted=nfe), written=f"{plans[nfe]}; {name}")
        for name, nfe in chosen
    ]
    with progress(lab.calls(work, len(entries), repeats=REPEATS, paired=True), "speed") as tell:
        comparison = lab.measure(work, entries, repeats=REPEATS, paired=True, progress=tell)
    write("digits-speed.json", comparison.to_dict())
    for r in comparison.results[1:]:
        efficiency = r.denoiser_speedup / r.ideal
        print(
            f"{r.name:10s} {r.nfe:4.0f} of 20: {r.denoiser_speedup:.2f}x of {r.ideal:.2f}x, efficiency {efficiency:.3f}"
        )


if __name__ == "__main__":
    main()
