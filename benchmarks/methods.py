"""Every method and every forecaster on the demo model, two settings, 20 steps, 64 seeds.

    python benchmarks/methods.py

Writes benchmarks/results/digits-hard.json and digits-easy.json, and prints the tables and the claims drawn from them.
Forecasters are compared on the same computed steps: every 4th and the last (6 computed), 3 warm-up steps, then every
4th and the last (8), 3 warm-up steps, then every 3rd and the last (10). Methods run as they are registered;
``tc-pade`` and ``linear`` also with every 3rd step and the last, without warm-up (8); ``adaptive`` is also tuned to
6, 8 and 10 computed steps on the development seeds. ``fewer-steps`` is the same sampler with as many steps.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from common import SETTINGS, progress, task, write
from tables import claims, show

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
    "linear": "lagrange:degree=1",
    "quadratic": "lagrange:degree=2",
    "taylorseer order 1": "taylor:order=1",
    "taylorseer order 2": "taylor:order=2",
    "spectrum": "chebyshev:blend=0.5",
    "spectrum, pure": "chebyshev",
    "Padé [1/1]": "pade",
    "Padé [2/1]": "pade:order=(2,1)",
    "Padé damped, no feedback": "tcpade:feedback=0",
    "linear with feedback": "feedback",
    "tc-pade": "tcpade",
    "tc-pade as printed": "tcpade:form=published",
}
METHODS = tuple(name for name in padecast.methods() if name not in ("none", "adaptive"))


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
    found += [lab.Entry.of(f"{name}:every=3", wanted=8) for name in ("tc-pade", "linear")]
    return found + [lab.Entry.of(name) for name in ("adaptive", *METHODS)]


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=tuple(SETTINGS), action="append", help="one setting alone")
    measured = {}
    for setting in parser.parse_args().setting or SETTINGS:
        work = task(setting)
        chosen = entries(work.tuning())
        with progress(lab.calls(work, len(chosen)), setting) as tell:
            comparison = lab.measure(work, chosen, progress=tell)
        document = comparison.to_dict()
        write(f"digits-{setting}.json", document)
        measured[setting] = document
        show(document)
    if len(measured) == len(SETTINGS):
        sys.exit(0 if claims(measured) else 1)


if __name__ == "__main__":
    main()
