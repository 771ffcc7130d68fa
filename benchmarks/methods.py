"""Every method and every forecaster on the demo model, two settings, 20 steps, 64 seeds.

    python benchmarks/methods.py

Writes benchmarks/results/digits-hard.json and digits-easy.json; benchmarks/tables.py prints them. Forecasters are
compared on the same computed steps: every 4th and the last (6 computed); 3 warm-up steps, then every 4th and the last
(8); 3 warm-up steps, then every 3rd and the last (10). Methods run as they are registered, but for those that are a
forecaster on every 4th step and so have their row already (tc-pade, pade, linear, fora). ``tc-pade`` and ``linear``
also run on every 3rd step and the last (8). ``adaptive`` is also tuned to 6, 8 and 10 computed steps on the development
seeds. ``fewer-steps`` is the same sampler with as many steps.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

from common import RESULTS, SETTINGS, progress, task, write

import padecast
from padecast import forecasters, lab, policies
from padecast.methods import Method

PLANS = {
    6: policies.Interval(every=4),
    8: policies.Interval(every=4, warmup=3),
    10: policies.Interval(every=3, warmup=3),
}
FORECASTERS = {
    "reuse": "reuse",
    "quadratic": "lagrange:degree=2",
    "taylorseer order 1": "taylor:order=1",
    "taylorseer order 2": "taylor:order=2",
    "spectrum": "chebyshev:blend=0.5",
    "spectrum, pure": "chebyshev",
    "Padé [1/1]": "pade",
    "Padé damped, no feedback": "tcpade:feedback=0",
    "linear with feedback": "feedback",
    "tc-pade": "tcpade",
    "tc-pade as printed": "tcpade:form=published",
}
METHODS = tuple(
    name for name, method in padecast.methods().items() if method.policy not in (policies.Always(), PLANS[6])
)


def entries(development: lab.Task) -> list[lab.Entry]:
    """Return everything that is measured in one setting."""
    found = []
    for nfe, policy in PLANS.items():
        found.append(lab.Entry.fewer(nfe, wanted=nfe))
        for name, written in FORECASTERS.items():
            part = forecasters.REGISTRY.make(written)
            method = Method(name, policy, part, "on a usual plan")
            found.append(replace(lab.Entry.of(method, wanted=nfe), written=f"{policy}; {written}"))
    for nfe in PLANS:
        found.append(refined(development, lab.tune(development, lab.Entry.of("adaptive", wanted=nfe), nfe)))
    found += [lab.Entry.of(f"{name}:every=3", wanted=8) for name in ("tc-pade", "linear")]
    return found + [lab.Entry.of(name) for name in METHODS]


def refined(development: lab.Task, entry: lab.Entry) -> lab.Entry:
    """Try tolerances around one that was tuned, and return the best that computes no more than wanted."""
    assert entry.wanted is not None
    tolerance = entry.method.policy.tolerance  # type: ignore[union-attr]
    tried = [f"adaptive:tolerance={tolerance * factor:.4g}" for factor in (0.85, 1.0, 1.1, 1.25)]
    results = lab.measure(development, [lab.Entry.of(t, wanted=entry.wanted) for t in tried]).results[1:]
    fitting = [r for r in results if r.nfe <= entry.wanted] or results
    best = max(fitting, key=lambda r: r.psnr.mean)
    return replace(lab.Entry.of(best.written, wanted=entry.wanted), name="adaptive")


def again(setting: str) -> None:
    """Refine the tolerances of a result file, measure those rows again and put them in its place."""
    document = json.loads((RESULTS / f"digits-{setting}.json").read_text(encoding="utf-8"))
    rows = {r["wanted"]: place for place, r in enumerate(document["results"]) if r["name"].startswith("adaptive")}
    work = task(setting)
    written = [lab.Entry.of(document["results"][rows[nfe]]["written"], wanted=nfe) for nfe in PLANS]
    chosen = [replace(refined(work.tuning(), entry), name="adaptive") for entry in written]
    with progress(lab.calls(work, len(chosen)), setting) as tell:
        measured = lab.measure(work, chosen, progress=tell).to_dict()
    for row in measured["results"][1:]:
        document["results"][rows[row["wanted"]]] = row
    document["adaptive measured again"] = measured["provenance"]
    write(f"digits-{setting}.json", document)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=tuple(SETTINGS), action="append", help="one setting alone")
    parser.add_argument("--again", action="store_true", help="refine and measure only the tolerances of a result file")
    given = parser.parse_args()
    for setting in given.setting or SETTINGS:
        if given.again:
            again(setting)
            continue
        work = task(setting)
        chosen = entries(work.tuning())
        with progress(lab.calls(work, len(chosen)), setting) as tell:
            write(f"digits-{setting}.json", lab.measure(work, chosen, progress=tell).to_dict())


if __name__ == "__main__":
    main()
