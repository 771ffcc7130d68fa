"""Statements of the TC-Padé and Spectrum papers, put to the test on the demo model in two settings.

    python benchmarks/claims.py                # every part; --part PART for one, --seeds N for the first N test seeds
    python benchmarks/claims.py --resume       # goes on where an interrupted run has stopped

Parts, each written to benchmarks/results/claims-PART.json after every batch of 8 seeds:

predict    the residual and the raw output of the stack, forecast from recorded uncached features, 1 to 4 steps ahead
threshold  tc-pade-fast at several thresholds of its stability rule
spans      tc-pade on equal plans, forecasting the whole stack or parts of it, at 6, 8 and 10 computed of 20 steps
intervals  forecasters on every 2nd to every 6th step
steps      TaylorSeer with its published warm-up and interval in runs of 10 to 50 steps
fifty      Spectrum and TaylorSeer at 14 and at 10 computed of 50 steps

A run that several parts need is drawn once. ``benchmarks/claims_page.py`` writes docs/claims.md from these files, and
from digits-hard.json and digits-easy.json of ``benchmarks/methods.py``, which hold Padé and Taylor on equal plans.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import RESULTS, SETTINGS, TEST, progress, task, write
from methods import PLANS
from torch import Tensor

from padecast import lab, policies
from padecast._history import Geometry, Position, Trace
from padecast._provenance import commit
from padecast.calibration.statistic import gram_sum
from padecast.forecasters import Chebyshev, Forecaster, Lagrange, Reuse, Taylor, TCPade
from padecast.methods import Method, method
from padecast.policies import Interval, Plan, Policy, Stability
from padecast.targets import HIDDEN, Target, register
from padecast.zoo.classifier import load_classifier

BATCH = 8
GAPS = (1, 2, 3, 4)
TEACHERS: dict[str, Forecaster] = {"reuse": Reuse(), "linear": Lagrange(1), "tc-pade": TCPade(feedback=0.0)}
SPANS = {
    "full": "whole stack",
    "rest": "all but the first block",
    "halves": "each half by itself",
    "modules": "each module by itself",
    "front": "front half, back computed",
    "back": "back half, front computed",
}
THRESHOLDS = (0.0, 0.7, 1.0, 1.3, 1.5, 1.7, 1.85, 1.95)
LENGTHS = (10, 15, 20, 30, 50)
WARM = Interval(every=4, warmup=3)
EVERY = (2, 3, 4, 5, 6)


@dataclass(frozen=True)
class Way:
    """One row of a part: a method in a run of so many steps, or the plain sampler if there is none.

    Args:
        name: For tables.
        at: What is varied: computed steps, a threshold, the length of the run, or an interval.
        method: What is attached.
        steps: Steps of the sampler.
        of: Steps of the uncached run that it is compared with.
    """

    name: str
    at: float
    method: Method | None = None
    steps: int = 20
    of: int = 20

    @property
    def key(self) -> tuple[Any, ...]:
        """What is drawn, whatever it is called."""
        made = self.method
        return (self.steps, *(() if made is None else (made.policy, made.forecaster, made.span)))


def way(name: str, at: float, policy: Policy, forecaster: Forecaster, *, span: str = "full", steps: int = 20) -> Way:
    """Put a row together."""
    return Way(name, at, Method(name, policy, forecaster, "a row", span=span), steps, steps)


# What every part draws ------------------------------------------------------------------------------------------------


def predict() -> list[Way]:
    """Draw nothing but the uncached run, whose features are recorded."""
    return []


def spans() -> list[Way]:
    """One method on three plans, over every span of the demo model."""
    return [way(name, nfe, plan, TCPade(), span=span) for span, name in SPANS.items() for nfe, plan in PLANS.items()]


def threshold() -> list[Way]:
    """TC-Padé's rule at several thresholds, lowest first."""
    return [way("tc-pade-fast", theta, Stability(theta), TCPade()) for theta in THRESHOLDS]


def fifty() -> list[Way]:
    """Spectrum's budgets: its own growing windows against TaylorSeer's warm-up and interval."""
    found = []
    for nfe, spectrum, every in ((14, "spectrum", 5), (10, "spectrum-fast", 8)):
        for name, blend in (("spectrum", "0.5"), ("spectrum, pure", "1.0")):
            made = method(f"{spectrum}:blend={blend}")
            found.append(way(name, nfe, made.policy, made.forecaster, steps=50))
        plan = Interval(every=every, warmup=3)
        found += [way(f"taylorseer order {n}", nfe, plan, Taylor(n), steps=50) for n in (1, 2)]
        found.append(way("tc-pade, even", nfe, even(50, nfe), TCPade(), steps=50))
        found.append(Way("fewer-steps", nfe, steps=nfe, of=50))
    return found


def steps() -> list[Way]:
    """TaylorSeer as published in short and long runs; others spread as many computed steps evenly."""
    found = []
    for length in LENGTHS:
        nfe = policies.plan_of(WARM, length).count("C")
        found += [way(f"taylorseer order {n}", length, WARM, Taylor(n), steps=length) for n in (1, 2)]
        found.append(way("tc-pade, even", length, even(length, nfe), TCPade(), steps=length))
        found.append(way("fora, even", length, even(length, nfe), Reuse(), steps=length))
        found.append(Way("fewer-steps", length, steps=nfe, of=length))
        found.append(Way("uncached", length, steps=length, of=length))
    return found


def intervals() -> list[Way]:
    """Forecasters on even plans."""
    parts: dict[str, Forecaster] = {
        "fora": Reuse(),
        "taylorseer order 1": Taylor(1),
        "spectrum's forecaster": Chebyshev(blend=0.5),
        "tc-pade": TCPade(),
    }
    return [way(name, n, Interval(every=n), part) for name, part in parts.items() for n in EVERY]


def even(total: int, computed: int) -> Plan:
    """Spread computed steps evenly, the first and the last among them.

    >>> even(9, 3).steps
    'C...C...C'
    """
    chosen = {round(k * (total - 1) / (computed - 1)) for k in range(computed)}
    return Plan("".join("C" if step in chosen else "." for step in range(total)))


PARTS: dict[str, Callable[[], list[Way]]] = {
    "predict": predict,
    "threshold": threshold,
    "spans": spans,
    "intervals": intervals,
    "steps": steps,
    "fifty": fifty,
}


# How it is drawn ------------------------------------------------------------------------------------------------------


loaded = functools.cache(task)


class Samples:
    """A batch of samples in one setting; every way of drawing them is drawn once."""

    def __init__(self, setting: str, seeds: Sequence[int]) -> None:
        self.setting, self.seeds = setting, tuple(seeds)
        self.kept: dict[tuple[Any, ...], lab.Drawn] = {}
        self.features: tuple[Tensor, Tensor] | None = None
        self.margins: list[float] = []

    def drawn(self, one: Way) -> lab.Drawn:
        """Draw, or return what was drawn."""
        if one.key not in self.kept:
            self.kept[one.key] = self._known(one) or self._draw(one)
        return self.kept[one.key]

    def _draw(self, one: Way) -> lab.Drawn:
        work = dataclasses.replace(
            loaded(self.setting), seeds=self.seeds, batch=len(self.seeds), steps=one.steps, development=()
        )
        entry = lab.UNCACHED if one.method is None else lab.Entry.of(self._watched(one.method))
        if one.method is None and one.steps == 20:
            with recorded(work.pipe) as record:
                drawn = lab.draw(work, entry, self.seeds)
            self.features = record()
        else:
            drawn = lab.draw(work, entry, self.seeds)
        return dataclasses.replace(drawn, path=())

    def _watched(self, made: Method) -> Method:
        if not isinstance(made.policy, Stability):
            return made
        self.margins.clear()
        return dataclasses.replace(made, policy=Watched(made.policy.threshold, seen=self.margins))

    def _known(self, one: Way) -> lab.Drawn | None:
        """Return the run at the threshold before, if no decision of it lies between the two."""
        if one.method is None or not isinstance(one.method.policy, Stability) or not self.margins:
            return None
        before = max((t for t in THRESHOLDS if t < one.at), default=None)
        if before is None or any(before <= seen < one.at for seen in self.margins):
            return None
        return self.kept.get((one.steps, Stability(before), one.method.forecaster, one.method.span))


@dataclass(frozen=True)
class Watched(Stability):
    """The stability rule, writing down the stability of the least stable sample whenever it is asked for."""

    seen: Any = None

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        """See :meth:`Stability.computes`."""
        place = at.index - trace.steps[0].at.index
        if place % self.every and len(geometry) >= 3 and not at.is_last:
            self.seen.append(float(geometry.stability().min()))
        return super().computes(at, trace, geometry)


@contextmanager
def recorded(pipe: Any) -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
    """Record what enters and what leaves the stack at every step, each ``(steps, rows, size)``."""
    blocks = pipe.transformer.transformer_blocks
    entries, outputs = list[Tensor](), list[Tensor]()

    def enter(_block: Any, args: Any, kwargs: dict[str, Any]) -> None:
        entries.append((args[0] if args else kwargs["hidden_states"]).detach().flatten(1).cpu())

    def leave(_block: Any, _args: Any, output: Tensor) -> None:
        outputs.append(output.detach().flatten(1).cpu())

    hooks = [blocks[0].register_forward_pre_hook(enter, with_kwargs=True), blocks[-1].register_forward_hook(leave)]
    try:
        yield lambda: (torch.stack(entries), torch.stack(outputs))
    finally:
        for hook in hooks:
            hook.remove()


def forecasts(features: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Forecast the recorded features from three earlier ones, the gap apart and the gap ahead.

    Both errors are those of the stack's output, over the norm of the true residual of the step: what is known of the
    step is its input, to which a forecast residual is added; a forecast output stands by itself. Means over rows,
    which are samples and conditionings.
    """
    entries, outputs = features
    residuals = outputs - entries
    total = len(outputs)
    errors = {
        f"{kind}, {name}, {gap}": [missed(forecaster, kept, residuals, target, gap) for target in range(3 * gap, total)]
        for kind, kept in (("residual", residuals), ("output", outputs))
        for name, forecaster in TEACHERS.items()
        for gap in GAPS
    }
    grams = {k: gram_sum(kept.transpose(0, 1)).tolist() for k, kept in (("residuals", residuals), ("outputs", outputs))}
    beside = {
        f"{name} over residual": (kept.norm(dim=2) / residuals.norm(dim=2)).mean(1).tolist()
        for name, kept in (("input", entries), ("output", outputs))
    }
    return {"errors": errors, "grams": grams, **beside}


def missed(forecaster: Forecaster, kept: Tensor, residuals: Tensor, target: int, gap: int) -> float:
    """Return the mean relative error of one forecast from the three steps before it on an even plan."""
    places = [target - 3 * gap, target - 2 * gap, target - gap]
    known = kept[places]
    weights = forecaster.weights(Geometry.of(known, places), Position.at(target, len(kept))).to(known)
    newest_first = known.flip(0)[: weights.shape[-1]]
    forecast = torch.einsum("bk,kbd->bd", weights.expand(known.shape[1], -1)[:, : len(newest_first)], newest_first)
    gone = (forecast - kept[target]).norm(dim=1)
    return float((gone / residuals[target].norm(dim=1)).mean())


# What is written ------------------------------------------------------------------------------------------------------


def add(row: dict[str, Any], one: Way, samples: Samples, reader: Any) -> None:
    """Add a batch to a row."""
    drawn, reference = samples.drawn(one), samples.drawn(Way("uncached", 0, steps=one.of, of=one.of))
    right = reader(drawn.images).argmax(1) == torch.tensor([seed % 10 for seed in samples.seeds])
    row["computed"].append(drawn.nfe)
    row["plans"].append(drawn.plan)
    row["psnr"] += lab.psnr(drawn.images, reference.images).tolist()
    row["ssim"] += lab.ssim(drawn.images, reference.images).tolist()
    row["read"] += right.double().tolist()


def begun(part: str, ways: Sequence[Way], resume: bool) -> dict[str, Any]:
    """Return the document of a part, with what was measured before if it is gone on with."""
    path = RESULTS / f"claims-{part}.json"
    empty = [
        {"name": w.name, "at": w.at, "steps": w.steps, "of": w.of, "written": written(w)}
        | {k: [] for k in ("computed", "plans", "psnr", "ssim", "read")}
        for w in ways
    ]
    fresh = {
        "part": part,
        "settings": {s: {"seeds": [], "rows": json.loads(json.dumps(empty))} for s in SETTINGS},
        "batch": BATCH,
    }
    if resume and path.exists():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if [r["written"] for r in found["settings"]["hard"]["rows"]] == [r["written"] for r in empty]:
            return found
    return fresh


def written(one: Way) -> str:
    """Say what is drawn, so that it can be repeated."""
    made = one.method
    return f"{one.steps} steps" if made is None else f"{made.policy}; {made.forecaster}; span {made.span}"


def batch(part: str, ways: Sequence[Way], found: dict[str, Any], samples: Samples, reader: Any, tell: Any) -> None:
    """Measure one part on one batch in one setting."""
    for row, one in zip(found["rows"], ways, strict=True):
        add(row, one, samples, reader)
        tell(f"{part}, {samples.setting}, {one.name}")
    if part == "predict":
        samples.drawn(Way("uncached", 0))
        assert samples.features is not None
        found.setdefault("batches", []).append(forecasts(samples.features))
        tell(f"{part}, {samples.setting}")
    found["seeds"] += samples.seeds


def provenance(started_from: str | None) -> dict[str, Any]:
    """Return where the figures come from; of a package that lies in no checkout, the checkout of this script."""
    found = lab.Provenance.of()
    return dataclasses.asdict(dataclasses.replace(found, commit=found.commit or started_from))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="one part alone")
    parser.add_argument("--seeds", type=int, default=len(TEST), help="the first so many test seeds, in batches of 8")
    parser.add_argument("--resume", action="store_true", help="keep the batches that the result files hold")
    options = parser.parse_args()
    halve()
    started_from = commit(Path(__file__).parent.parent / "src" / "padecast")
    reader, chosen = load_classifier(), {part: PARTS[part]() for part in options.part or PARTS}
    documents = {part: begun(part, ways, options.resume) for part, ways in chosen.items()}
    batches = [TEST[start : start + BATCH] for start in range(0, options.seeds, BATCH)]
    total = len(batches) * len(SETTINGS) * sum(max(len(ways), 1) for ways in chosen.values())
    with progress(total, "claims") as tell:
        for seeds in batches:
            known = {setting: Samples(setting, seeds) for setting in SETTINGS}
            for part, ways in chosen.items():
                for setting, samples in known.items():
                    found = documents[part]["settings"][setting]
                    if set(seeds) <= set(found["seeds"]):
                        tell(part, max(len(ways), 1))
                        continue
                    batch(part, ways, found, samples, reader, tell)
                    write(f"claims-{part}.json", {**documents[part], "provenance": provenance(started_from)})


def halve() -> None:
    """Describe the halves of the demo model's stack as spans of which the other half is always computed."""
    blocks = "transformer_blocks"
    register(
        Target(
            "DiTTransformer2DModel",
            {blocks: HIDDEN},
            spans={"front": (f"{blocks}[:4]",), "back": (f"{blocks}[4:]",)},
        )
    )


if __name__ == "__main__":
    main()
