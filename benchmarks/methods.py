"""Every method and every forecaster on the demo model, two settings, 20 steps, 64 seeds.

    python benchmarks/methods.py

Writes benchmarks/results/digits-hard.json and digits-easy.json; benchmarks/tables.py prints them. Forecasters are
compared on the same computed steps: every 4th and the last (6 computed); 3 warm-up steps, then every 4th and the last
(8); 3 warm-up steps, then every 3rd and the last (10). Methods run as they are registered, but for those that are a
forecaster on every 4th step and so have their row already (pade, linear, fora). The forecaster of ``tc-pade`` and
``linear`` also run on every 3rd step and the last (8). ``adaptive`` is also tuned to 6, 8 and 10 computed steps on the
development seeds. ``fewer-steps`` is the same sampler with as many steps.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

from common import SETTINGS, even, progress, task, write

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
METHODS = tuple(name for name in padecast.methods() if name not in ("pade", "linear", "fora", "none"))


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
        found.append(lab.tune(development, lab.Entry.of("adaptive", wanted=nfe), nfe))
    found += [even(3, 8), lab.Entry.of("linear:every=3", wanted=8)]
    return found + [lab.Entry.of(name) for name in METHODS]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=tuple(SETTINGS), action="append", help="one setting alone")
    for setting in parser.parse_args().setting or SETTINGS:
        work = task(setting)
        chosen = entries(work.tuning())
        with progress(lab.calls(work, len(chosen)), setting) as tell:
            write(f"digits-{setting}.json", lab.measure(work, chosen, progress=tell).to_dict())


if __name__ == "__main__":
    main()
