"""Ideas beyond calibrated scalar weights, each judged on seeds that nothing was fitted to.

    python benchmarks/ideas.py                 # both parts; --part PART for one

shrink   calibrated weights blended with those of the run's own Gram matrix, and plans that adapt on line within their
         budget, on the 64 test seeds
richer   by how much branches, frequencies, channels or the sample's own state could improve fitted weights: the final
         image's answer to each, measured on 24 seeds to fit and on 16 others

Writes benchmarks/results/ideas-PART.json; docs/experiments.md tells what came out.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from common import SETTINGS, TEST, progress, task, write
from torch import Tensor

from padecast import lab, zoo
from padecast._geometry import Geometry
from padecast._steps import Position, Trace
from padecast.calibration.provenance import Provenance
from padecast.calibration.refine import stretches
from padecast.forecasters import Blend, TCPade
from padecast.forecasters.lagrange import lagrange_basis
from padecast.methods import Method
from padecast.policies import Plan, Policy

BUDGETS = (8,)


@dataclass(frozen=True)
class Flexible(Policy):
    """A plan whose computed steps come one step early where forecasts extrapolate far, or one late where they do not.

    ``expected`` is how far linear extrapolation lies from repetition, relative, at every step, on average.
    """

    plan: str
    expected: tuple[float, ...]
    factor: float = 1.5
    needs_gram = True
    looks_back = 2

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        done, due = len(trace.computed), [i for i, c in enumerate(self.plan) if c == "C"]
        if done >= len(due):
            return False
        planned = due[done]
        left, lately = at.total - at.index, trace.forecasts_in_a_row > 0
        if left <= len(due) - done:
            return True
        ratio = self.ratio(at, geometry)
        if at.index == planned - 1:
            return ratio > self.factor and lately
        if at.index == planned:
            return not (ratio < 1 / self.factor and lately and (done + 1 >= len(due) or due[done + 1] > planned + 1))
        return at.index > planned

    def ratio(self, at: Position, geometry: Geometry) -> float:
        """How far the worst sample extrapolates, over what is expected."""
        expected = self.expected[at.index]
        return distance(geometry, at) / expected if expected > 0 and len(geometry) > 1 else 1.0


@dataclass(frozen=True)
class Watching(Policy):
    """A plan that writes down how far every step extrapolates."""

    plan: str
    seen: Any
    needs_gram = True
    looks_back = 2

    def computes(self, at: Position, trace: Trace, geometry: Geometry) -> bool:
        if len(geometry) > 1:
            self.seen.setdefault(at.index, []).append(distance(geometry, at))
        return self.plan[at.index] == "C"


def distance(geometry: Geometry, at: Position) -> float:
    """Return the largest relative distance of linear extrapolation from repetition."""
    pair = geometry.newest(2)
    return float(pair.distance(lagrange_basis(pair.time, at.time), torch.tensor([1.0, 0.0])).max())


def shrink() -> dict[str, Any]:
    """Blend calibrated weights with the run's own, and let plans adapt."""
    found = {}
    for setting in ("hard",):
        shipped, entries, single = zoo.calibration("digits", setting), [], []
        for n in BUDGETS:
            own = shipped.method(computed=n)
            entries.append(lab.Entry.of(dataclasses.replace(own, name="calibrated"), wanted=n))
            for share in (0.1, 0.25, 0.5):
                mixed = Blend(first=own.forecaster, second=TCPade(), share=share)
                entries.append(lab.Entry.of(Method(f"{share:g} of the run's own", own.policy, mixed, ""), wanted=n))
            single.append(lab.Entry.of(dataclasses.replace(own, name="calibrated"), wanted=n))
            for factor in (1.25, 1.5):
                policy = Flexible(own.policy.steps, expected(setting, own.policy.steps), factor)
                single.append(lab.Entry.of(Method(f"flexible {factor:g}", policy, TCPade(), ""), wanted=n))
            plain = dataclasses.replace(own, name="fixed plan, same", forecaster=TCPade())
            single.append(lab.Entry.of(plain, wanted=n))
        work = task(setting)
        alone = task(setting, seeds=TEST[:24], batch=1)  # a plan that adapts to a sample has to be judged alone
        with progress(lab.calls(work, len(entries)) + lab.calls(alone, len(single)), setting) as tell:
            found[setting] = {
                "own": lab.measure(work, entries, progress=tell).to_dict(),
                "flexible": lab.measure(alone, single, progress=tell).to_dict(),
            }
    return found


def expected(setting: str, plan: str) -> tuple[float, ...]:
    """Measure how far every step of a plan extrapolates, on development seeds."""
    seen: dict[int, list[float]] = {}
    work = task(setting, batch=1)
    method = Method("watching", Watching(plan, seen), TCPade(), "")
    for seed in work.tuning().seeds[:12]:
        lab.draw(work, lab.Entry.of(method), [seed])
    return tuple(sum(seen[i]) / len(seen[i]) if i in seen else 0.0 for i in range(len(plan)))


# How much could richer weights gain? ----------------------------------------------------------------------------------


class Walk:
    """The demo model's sampler, step by step, with a plan and weights that can be bumped."""

    def __init__(self, setting: str, seeds: range, plan: str) -> None:
        self.pipe, self.plan = zoo.load("digits"), plan
        self.model, self.guidance = self.pipe.transformer, SETTINGS[setting]["guidance"]
        shift, total = SETTINGS[setting]["shift"], len(plan)
        sigma = torch.linspace(1, 1 / total, total, dtype=torch.float64)
        sigma = torch.cat([shift * sigma / (1 + (shift - 1) * sigma), torch.zeros(1, dtype=torch.float64)])
        self.sigma, self.pace = sigma.tolist(), (sigma[:-1] - sigma[1:]).tolist()
        noise = [torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(s)) for s in seeds]
        self.noise, labels = torch.cat(noise), torch.tensor([s % 10 for s in seeds])
        self.labels = torch.cat([labels, torch.full_like(labels, 10)])
        self.shipped = zoo.calibration("digits", setting).method(computed=plan.count("C")).forecaster

    def stack(self, entry: Tensor, index: int) -> Tensor:
        times = torch.full((len(entry),), 1000 * self.sigma[index])
        for block in self.model.transformer_blocks:
            entry = block(entry, timestep=times, class_labels=self.labels)
        return entry

    def velocity(self, hidden: Tensor, index: int) -> Tensor:
        times = torch.full((len(hidden),), 1000 * self.sigma[index])
        embedded = self.model.transformer_blocks[0].norm1.emb(times, self.labels, hidden_dtype=hidden.dtype)
        shift, scale = self.model.proj_out_1(F.silu(embedded)).chunk(2, dim=1)
        patches = self.model.proj_out_2(self.model.norm_out(hidden) * (1 + scale[:, None]) + shift[:, None])
        grid = patches.reshape(-1, 8, 8, 2, 2, 1)
        labelled, empty = torch.einsum("nhwpqc->nchpwq", grid).reshape(-1, 1, 16, 16).chunk(2)
        return empty + self.guidance * (labelled - empty)

    def run(self, start: Any = None, keep: Any = None, bump: Any = None) -> Tensor:
        """Return the final image; from a kept state on, with ``bump(history)`` added to some residuals."""
        index, x, history, places = start or (0, self.noise, [], [])
        history, places = list(history), list(places)
        for i in range(index, len(self.plan)):
            if keep is not None:
                keep[i] = (i, x, list(history), list(places))
            entry = self.model.pos_embed(torch.cat([x, x]))
            if self.plan[i] == "C":
                hidden = self.stack(entry, i)
                history, places = [hidden - entry, *history][:4], [i, *places][:4]
            else:
                residual = self.forecast(i, history, places)
                if bump is not None and i in bump[0]:
                    residual = residual + bump[1](history)
                hidden = entry + residual
            x = x - self.pace[i] * self.velocity(hidden, i)
        return x

    def forecast(self, index: int, history: list[Tensor], places: list[int]) -> Tensor:
        stacked = torch.stack(history).flatten(2)
        gram = torch.einsum("jbd,kbd->bjk", stacked, stacked).double() / stacked.shape[2]
        geometry = Geometry(tuple(places), tuple(map(float, places)), gram, batch=len(gram))
        at = Position.at(index, len(self.plan), strides=tuple(p / sum(self.pace) for p in self.pace))
        weights = self.shipped.weights(geometry, at).float()
        weights = weights.expand(len(gram), -1) if weights.ndim == 1 else weights
        return sum(weights[:, k, None, None] * history[k] for k in range(min(weights.shape[1], len(history))))


def classes(walk: Walk) -> Iterator[tuple[str, Callable[[Tensor, list[Tensor]], Tensor]]]:
    """What an offset may act on: everything alike, one branch, some frequencies, some channels, some samples."""
    half = len(walk.noise)
    sign = torch.cat([torch.ones(half), -torch.ones(half)])[:, None, None]
    wave = torch.arange(8.0)
    cosine = torch.cos(math.pi * (wave + 0.5) * wave[:, None] / 8) * math.sqrt(2 / 8)
    cosine[0] /= math.sqrt(2)
    both = torch.kron(cosine, cosine)
    radius = torch.cartesian_prod(wave, wave).norm(dim=1)
    low, high = (both.T @ torch.diag(part.float()) @ both for part in (radius < 2.2, radius > 4.6))
    energy = (walk.stack(entry := walk.model.pos_embed(walk.noise.repeat(2, 1, 1, 1)), 0) - entry).square().mean((0, 1))
    quiet, loud = (energy.argsort() < 64).float(), (energy.argsort() >= 128).float()
    yield "everything alike", lambda r, _: r
    yield "branches apart", lambda r, _: sign * r
    yield "across branches", lambda r, _: r.roll(half, 0) * (sign > 0)
    yield "low frequencies", lambda r, _: low @ r
    yield "high frequencies", lambda r, _: high @ r
    yield "a third of the channels", lambda r, _: r * quiet
    yield "another third of the channels", lambda r, _: r * loud
    yield "samples by relative change", lambda r, history: change(history) * r


def change(history: list[Tensor]) -> Tensor:
    """Return the logarithm of a sample's relative change, centred."""
    if len(history) < 2:
        return torch.zeros(len(history[0]), 1, 1)
    ratio = (history[0] - history[1]).flatten(1).norm(dim=1) / history[0].flatten(1).norm(dim=1)
    return (ratio.log() - ratio.log().mean())[:, None, None]


@torch.no_grad()
def richer(setting: str = "hard", budget: int = 8) -> dict[str, Any]:
    """Measure what more could be gained, to first order, from the shipped weights on."""
    plan = zoo.calibration("digits", setting).method(computed=budget).policy.steps
    fit, judge = Walk(setting, range(1000, 1024), plan), Walk(setting, range(2000, 2016), plan)
    with progress(2 * len(stretches(Plan(plan))), "richer") as tell:
        sides = [answers(walk, lambda: tell("stretch")) for walk in (fit, judge)]
    groups = [["everything alike"], *([["everything alike", n] for n in sides[0][1] if n != "everything alike"])]
    groups.append(list(sides[0][1]))
    rows = []
    for names in groups:
        a, b = (torch.cat([columns[n] for n in names], -1) for _, columns in sides)
        step = solved(a, sides[0][0])
        gains = [decibels(e + c @ step) - decibels(e) for (e, _), c in zip(sides, (a, b), strict=True)]
        rows.append({"offsets": names, "count": a.shape[-1], "gain_fit": gains[0], "gain_judged": gains[1]})
    return {"setting": setting, "computed": budget, "plan": plan, "rows": rows}


def answers(walk: Walk, tell: Callable[[], None]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the error ``(S, n)`` and the final image's answer ``(S, n, P)`` to every class of offsets."""
    truth, kept = Walk.run(_uncached(walk)), {}
    base = walk.run(keep=kept)
    found: dict[str, list[Tensor]] = {}
    for stretch in stretches(Plan(walk.plan)):
        known = len(kept[stretch[0]][2])
        for name, act in classes(walk):
            for k in range(min(known, 3)):
                bump = (set(stretch), lambda history, act=act, k=k: 1e-3 * act(history[k], history))
                moved = walk.run(start=kept[stretch[0]], bump=bump)
                found.setdefault(name, []).append(((moved - base) / 1e-3).double().flatten(1))
        tell()
    return (base - truth).double().flatten(1), {name: torch.stack(v, -1) for name, v in found.items()}


def _uncached(walk: Walk) -> Walk:
    full = copy.copy(walk)
    full.plan = "C" * len(walk.plan)
    return full


def solved(answer: Tensor, error: Tensor, ridge: float = 1e-4) -> Tensor:
    """Minimise the mean logarithm of the squared error."""
    step = torch.zeros(answer.shape[-1], dtype=torch.float64)
    for _ in range(8):
        weight = 1 / (error + answer @ step).square().mean(1)
        normal = torch.einsum("snp,snq,s->pq", answer, answer, weight)
        right = -torch.einsum("snp,sn,s->p", answer, error, weight)
        scale = normal.diagonal().clamp_min(1e-30).sqrt()
        scaled = normal / scale[:, None] / scale + ridge * torch.eye(len(scale), dtype=torch.float64)
        step = torch.linalg.solve(scaled, right / scale) / scale
    return step


def decibels(error: Tensor) -> float:
    """Mean PSNR of images in [-1, 1] with this error."""
    return float(-10 * (error / 2).square().mean(1).log10().mean())


PARTS = {"shrink": shrink, "richer": richer}


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=tuple(PARTS), action="append", help="one part alone")
    for part in parser.parse_args().part or PARTS:
        found = PARTS[part]()
        write(f"ideas-{part}.json", {"part": part, **found, "provenance": dataclasses.asdict(Provenance.of())})


if __name__ == "__main__":
    main()
