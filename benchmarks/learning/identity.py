"""What makes another lesson: results/lesson-identity.json, the lesson of one setting used at another.

    python -m benchmarks.learning.identity digits:matched     # fifteen minutes on a core
    python -m benchmarks.learning.identity scenes:matched     # ten

A lesson of a world as it is, from one run of four samples, plans runs of the world with one thing changed, beside a
lesson of that setting's own from the same seeds: PSNR in dB to that setting's own uncached images, of seeds that
nothing was chosen on. The first rows have nothing changed but the seeds that taught: what others lose no more than
these is chance. What is in the result file already is not measured again.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.common import RESULTS, provenance, read, write
from benchmarks.learning.measure import STEPS, TEACHING, UNSEEN, Bench, choose, learn
from padecast.lessons import Lesson, Look, Planner
from padecast.policies import Plan
from padecast.zoo.worlds import WORLDS

RESULT = "lesson-identity.json"
BUDGETS = (6, 8, 10)
SAMPLES = 4
"""Of the run that teaches."""
RANK = 4
"""Of the changes of weights that are like an adapter's."""
Change = Callable[[Bench], None]


def leave(bench: Bench) -> None:
    """Change nothing."""


@dataclass(frozen=True)
class Case:
    """A setting.

    Args:
        kind: What is changed.
        name: How far.
        change: Changes a bench.
        first: First seed of the run that teaches a lesson of its own.
        budgets: Computed steps that are measured.
    """

    kind: str
    name: str
    change: Change = leave
    first: int = TEACHING
    budgets: Sequence[int] = field(default=BUDGETS)


class FromImage(Bench):
    """A world whose runs start from images of the same world, by the pipeline for that.

    Args:
        name: Of the world.
        seeds: That are measured.
        strength: How much of the schedule is run.
    """

    def __init__(self, name: str, seeds: Sequence[int], strength: float) -> None:
        super().__init__(name, seeds)
        self._source = Bench(name, seeds)
        self._strength, self._images = strength, dict[tuple[int, ...], Tensor]()
        parts = {**self.pipe.components, "image_encoder": None, "feature_extractor": None}
        self.pipe = diffusers.FluxImg2ImgPipeline(
            **{name: parts[name] for name in ("scheduler", "vae", "text_encoder", "tokenizer", *MORE)}
        )

    def draw(self, seeds: Sequence[int], steps: int, shift: float) -> Tensor:
        """Return the images of seeds, each begun from that of another seed."""
        key = tuple(seeds)
        if key not in self._images:
            self._images[key] = self._source.draw([seed + 500 for seed in seeds], STEPS, shift)
        image = self._images[key]
        height, width = image.shape[-2:]
        options = {"guidance_scale": WORLDS[self.name].guidance, "height": height, "width": width}
        self.more = {"image": image, "strength": self._strength, **options}
        return super().draw(seeds, steps, shift)


MORE = ("text_encoder_2", "tokenizer_2", "transformer")


def guide(factor: float | None) -> Change:
    """Return a change of the guidance scale; none at all without a factor."""

    def change(bench: Bench) -> None:
        scale = 1.0 if factor is None else factor * WORLDS[bench.name].guidance
        bench.more = {"guidance_scale": scale}

    return change


def resize(size: int) -> Change:
    """Return a change of the size of the image; the schedule stays."""

    def change(bench: Bench) -> None:
        bench.more = {"height": size, "width": size}

    return change


def linears(bench: Bench) -> Iterator[nn.Linear]:
    """Yield the linear layers of a bench's model."""
    for module in bench.pipe.transformer.modules():
        if isinstance(module, nn.Linear):
            yield module


def round_weights(restore: Callable[[Tensor], Tensor]) -> Change:
    """Return a change of the weights of all linear layers to what a coarser number has left of them."""

    def change(bench: Bench) -> None:
        for layer in linears(bench):
            layer.weight.data = restore(layer.weight.data)

    return change


def to_bytes(weight: Tensor) -> Tensor:
    """Round to 8-bit integers with one scale a row."""
    scale = weight.abs().amax(1, keepdim=True) / 127
    return (weight / scale).round() * scale


def to_nibbles(weight: Tensor) -> Tensor:
    """Round to 4-bit integers with one scale a row."""
    scale = weight.abs().amax(1, keepdim=True) / 7
    return (weight / scale).round().clamp(-7, 7) * scale


def to_float8(weight: Tensor) -> Tensor:
    """Round to ``float8_e4m3fn``."""
    return weight.to(torch.float8_e4m3fn).to(weight.dtype)


def store_in_bytes(bench: Bench) -> None:
    """Have torch quantize all linear layers, activations too, to 8-bit integers."""
    bench.pipe.transformer = torch.ao.quantization.quantize_dynamic(bench.pipe.transformer, {nn.Linear}, torch.qint8)


def store_in_halves(bench: Bench) -> None:
    """Run all models in bfloat16."""
    for part in bench.pipe.components.values():
        if isinstance(part, nn.Module):
            nn.Module.to(part, torch.bfloat16)


def adapt(strength: float) -> Change:
    """Return a change of every linear layer by a random matrix of low rank, so large beside its weights."""

    def change(bench: Bench) -> None:
        generator = torch.Generator().manual_seed(0)
        for layer in linears(bench):
            weight = layer.weight.data
            tall, wide = (torch.randn(size, RANK, generator=generator) for size in weight.shape)
            product = tall @ wide.T
            weight += strength * weight.norm() / product.norm() * product

    return change


def tune(updates: int) -> Change:
    """Return a change by fine-tuning on digits of the model's own, black on white, cut to low rank, merged."""

    def change(bench: Bench) -> None:
        model, generator = bench.pipe.transformer, torch.Generator().manual_seed(0)
        seeds = range(60_000, 60_064)
        images = -(2 * bench.draw(seeds, 8, bench.shift) - 1)
        labels = torch.tensor([bench.labels[seed % 10] for seed in seeds])
        layers = [
            layer for block in model.transformer_blocks for layer in block.modules() if isinstance(layer, nn.Linear)
        ]
        before = [layer.weight.detach().clone() for layer in layers]
        optimizer = torch.optim.Adam([layer.weight for layer in layers], lr=3e-4)
        for _ in range(updates):
            indices = torch.randint(len(images), (8,), generator=generator)
            clean, noise = images[indices], torch.randn(8, *images.shape[1:], generator=generator)
            sigma = torch.rand(8, 1, 1, 1, generator=generator)
            mixed = (1 - sigma) * clean + sigma * noise
            (velocity,) = model(mixed, timestep=1000 * sigma.flatten(), class_labels=labels[indices], return_dict=False)
            (velocity - (noise - clean)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            for layer, weight in zip(layers, before, strict=True):
                left, values, right = torch.linalg.svd(layer.weight - weight, full_matrices=False)
                layer.weight.copy_(weight + left[:, :RANK] * values[:RANK] @ right[:RANK])

    return change


def draw_classes(labels: Sequence[int]) -> Change:
    """Return a change of the classes that are drawn."""

    def change(bench: Bench) -> None:
        bench.labels = tuple(labels)

    return change


def draw_captions(two: bool) -> Change:
    """Return a change to captions of two objects, or of one alone."""

    def change(bench: Bench) -> None:
        words = ("left of", "right of", "above", "below")
        bench.captions = tuple(text for text in bench.captions if any(word in text for word in words) == two)

    return change


COMMON = (
    *(Case("nothing", f"other seeds taught, {n}", first=TEACHING + 100 * n) for n in (1, 2, 3)),
    *(Case("guidance", f"x {factor:g}", guide(factor)) for factor in (0.5, 0.67, 0.8, 1.25, 1.5, 2.0)),
    Case("guidance", "none", guide(None)),
    *(Case("low-rank, random", f"{strength:g} of the weights", adapt(strength)) for strength in (0.01, 0.03, 0.1, 0.2)),
    Case("quantized", "bfloat16, all of the model", store_in_halves),
    Case("quantized", "float8 weights", round_weights(to_float8)),
    Case("quantized", "8-bit weights", round_weights(to_bytes)),
    Case("quantized", "8-bit weights and activations", store_in_bytes),
    Case("quantized", "4-bit weights", round_weights(to_nibbles)),
)
DIGITS = (
    *(Case("low-rank, fine-tuned", f"{updates} updates", tune(updates)) for updates in (20, 100)),
    Case("what is drawn", "classes 5 to 9 for 0 to 4", draw_classes(range(5, 10))),
)
SCENES = (
    *(Case("size", f"{size} for 64 pixels", resize(size)) for size in (48, 96)),
    Case("what is drawn", "two objects for one", draw_captions(True)),
    Case("pipeline", "from an image, strength 0.6", budgets=(4, 5, 6)),
)


def main() -> None:
    """Measure what is not in the result file yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("world")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--kinds", nargs="*")
    arguments = parser.parse_args()
    world, seeds = arguments.world, range(UNSEEN, UNSEEN + arguments.seeds)
    document: dict[str, Any] = read(RESULT) if (RESULTS / RESULT).is_file() else {"rows": []}
    rows, lessons = document["rows"], dict[str, Lesson]()
    for case in (*COMMON, *(DIGITS if world.startswith("digits") else SCENES)):
        key = [world, case.kind, case.name]
        if key in [row["key"] for row in rows] or (arguments.kinds and case.kind not in arguments.kinds):
            continue
        first = case.kind if case.kind == "what is drawn" else ""
        if first not in lessons:
            bench = Bench(world, seeds)
            if first and bench.captions:
                draw_captions(False)(bench)
            elif first:
                draw_classes(range(5))(bench)
            lessons[first] = learn([look_of(bench, TEACHING)])
        row = {
            "key": key,
            "seeds": [UNSEEN, len(seeds)],
            "teaching": [TEACHING, SAMPLES],
            **measure(case, world, seeds, lessons[first]),
        }
        rows.append(row)
        print(*key, f"{row['loss']:+.2f}", *row["plans"], flush=True)
        notes = {"note": document["note"]} if "note" in document else {}
        write(RESULT, {"kind": "padecast lesson identity", **notes, "provenance": provenance(), "rows": rows})


def look_of(bench: Bench, first: int) -> Look:
    """Return what one run of a bench shows."""
    return bench.look(range(first, first + SAMPLES), STEPS, bench.shift)[0]


def measure(case: Case, world: str, seeds: Sequence[int], lesson: Lesson) -> dict[str, Any]:
    """Measure plans of a lesson in a setting, and of one of the setting's own, budget by budget."""
    bench = FromImage(world, seeds, 0.6) if case.kind == "pipeline" else Bench(world, seeds)
    case.change(bench)
    look = look_of(bench, case.first)
    lessons, judge = (lesson, learn([look])), Planner.of(learn([look]), look.noise, "low")
    begin, plans, means, predicted = STEPS - look.steps, list[list[str]](), list[list[float]](), list[float]()
    for budget in case.budgets:
        chosen = [choose(one, look.noise, budget, bench.pipe.scheduler) for one in lessons]
        plans.append([whole(steps, begin).steps for steps, _ in chosen])
        predicted.append(judge.cost(chosen[0][0]) - judge.cost(chosen[1][0]))
        if chosen[0] == chosen[1]:  # nothing is lost, whatever they leave
            means.append([])
            continue
        values = [bench.psnr(whole(steps, begin), STEPS, bench.shift, forecaster)[0] for steps, forecaster in chosen]
        means.append([round(float(np.mean(each)), 2) for each in values])
    loss = float(np.mean([pair[1] - pair[0] if pair else 0.0 for pair in means]))
    return {
        "budgets": list(case.budgets),
        "plans": plans,
        "psnr": means,
        "predicted": round(float(np.mean(predicted)), 2),
        "loss": round(loss, 2),
    }


def whole(steps: Sequence[int], begin: int) -> Plan:
    """Return a plan of the whole schedule for steps of the part that is run."""
    places = {begin + step for step in steps}
    return Plan("".join("C" if i < begin or i in places else "." for i in range(STEPS)))


if __name__ == "__main__":
    main()
