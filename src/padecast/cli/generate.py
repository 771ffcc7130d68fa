"""``padecast generate``: images of a pipeline under a method."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import typer
from torch import Tensor

from padecast import accelerate, files
from padecast.calibration.provenance import Provenance
from padecast.cli import _options
from padecast.cli._chosen import Chosen, choose
from padecast.cli._files import as_json, check_writable, refuse_existing, staged, write_json
from padecast.cli._pipelines import load
from padecast.cli._shell import INTERRUPTED, ending, pipeline_errors, progress, stderr, stdout
from padecast.hooks.quiet import quiet
from padecast.lab._extras import need
from padecast.lab.calls import parameters
from padecast.lab.runner import Task
from padecast.methods import DEFAULT, Method, method
from padecast.report import Report


def generate(
    pipeline: str = _options.PIPELINE,
    written: str = typer.Option(DEFAULT, "--method", help="Such as tc-pade:every=3; none computes every step."),
    calibration: str | None = _options.CALIBRATION,
    computed: int | None = _options.COMPUTED,
    speedup: float | None = _options.SPEEDUP,
    decibels: float | None = _options.DECIBELS,
    seeds: list[str] = _options.SEEDS,
    prompt: list[str] = _options.PROMPT,
    classes: list[str] = _options.CLASS,
    steps: int = _options.STEPS,
    guidance: float | None = _options.GUIDANCE,
    shift: float | None = _options.SHIFT,
    batch: int | None = _options.BATCH,
    size: str | None = _options.SIZE,
    frames: int | None = _options.FRAMES,
    negative: str | None = _options.NEGATIVE,
    settings: list[str] = _options.SET,
    out: Path = typer.Option(Path("padecast-images"), help="Folder for images and report."),
    zoom: int = typer.Option(1, min=1, help="Enlarge images so many times, for small ones."),
    device: str | None = _options.DEVICE,
    dtype: str | None = _options.DTYPE,
    offload: str = _options.OFFLOAD,
    json: bool = typer.Option(False, "--json", help="Print the report as JSON."),
    overwrite: bool = _options.OVERWRITE,
) -> None:
    """Draw images with a pipeline, forecasting some of its steps, and report what the run did."""
    calibrated = choose(calibration, computed, speedup, decibels)
    how: Chosen | Method = calibrated or method(written)
    written = calibrated.written if calibrated else written
    drawn = _options.numbers(seeds, "seed")
    further = _options.arguments(size, frames, negative, settings)
    sampling = _options.sampling(prompt, classes, guidance, shift, further)
    names, report_name = [f"{seed_name(seed)}-{_options.slug(written)}.png" for seed in drawn], report_file(written)
    refuse_existing(out, [*names, report_name], overwrite=overwrite)
    check_writable(out)
    pipe = load(pipeline, device=device, dtype=dtype, offload=offload)
    task = Task(pipe, sampling, steps, drawn, _options.batch_of(pipe, batch), pipeline)
    sampling.conditions(pipe, drawn)  # what the pipeline cannot take is said before it runs
    left = iter(names)

    def keep(images: Tensor) -> None:
        with staged(out) as folder:
            for image in images:
                save(image, folder / next(left), zoom)

    reports = run(task, how, keep)
    report = describe(task, written, names, reports)
    write_json(out / report_name, report)
    if json:
        typer.echo(as_json(report))
    else:
        stdout().print(str(reports[-1]), highlight=False, markup=False, soft_wrap=True)
    where = f"wrote {len(names)} images and {report_name} to {out}"
    stderr().print(where, highlight=False, markup=False, soft_wrap=True)


def run(task: Task, how: Chosen | Method, keep: Callable[[Tensor], Any]) -> list[Report]:
    """Draw all seeds, and keep the images of every call when it is done; returns their reports."""
    reports: list[Report] = []
    try:
        _draw(task, how, keep, reports)
    except KeyboardInterrupt:
        done = sum(map(len, task.batches()[: len(reports)]))
        if done:
            ending(f"interrupted; {done} of {len(task.seeds)} images were written", INTERRUPTED)
        raise
    return reports


def _draw(task: Task, how: Chosen | Method, keep: Callable[[Tensor], Any], reports: list[Report]) -> None:
    name = how.written if isinstance(how, Chosen) else how.name
    with progress(f"drawing with {name}", len(task.batches()) * task.steps) as tick, quiet(task.pipe):
        for seeds in task.batches():
            attached = how.on(task.pipe) if isinstance(how, Chosen) else accelerate(task.pipe, how)
            with pipeline_errors(), attached as running:
                images = task.call(task.pipe, seeds, **_arguments(task, tick))
            keep(images)
            reports.append(running.report)


def describe(task: Task, written: str, names: Sequence[str], reports: Sequence[Report]) -> dict[str, Any]:
    """What was drawn and what it took, as plain data."""
    settings = task.settings()
    del settings["development"]
    left = iter(names)
    runs = [
        {"seeds": list(seeds), "files": [next(left) for _ in seeds], **report.to_dict()}
        for seeds, report in zip(task.batches(), reports, strict=True)
    ]
    return {
        "kind": "padecast generation",
        "method": written,
        "settings": settings,
        "runs": runs,
        "provenance": dataclasses.asdict(Provenance.of(task.pipe)),
    }


def save(image: Tensor, path: Path, zoom: int = 1) -> None:
    """Write an image ``(C, H, W)`` in [0, 1] as PNG, or a clip ``(frames, C, H, W)`` as an animated one.

    Raises:
        UnwritableFile: If the disk is full, or the file cannot be written for another reason.
    """
    pillow = need("PIL.Image", "writing images")
    clip = (image if image.ndim == 4 else image[None]).detach().float().cpu().nan_to_num(0.0)
    pixels = (clip.clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1).numpy()
    pictures = [pillow.fromarray(frame.squeeze(-1) if frame.shape[-1] == 1 else frame) for frame in pixels]
    if zoom > 1:
        size = (pictures[0].width * zoom, pictures[0].height * zoom)
        pictures = [picture.resize(size, pillow.Resampling.NEAREST) for picture in pictures]
    moving = (
        {"save_all": True, "append_images": pictures[1:], "duration": 1000 // 16, "loop": 0} if pictures[1:] else {}
    )
    with BytesIO() as file:
        pictures[0].save(file, format="PNG", **moving)
        files.write(path, file.getvalue())


def seed_name(seed: int) -> str:
    """Beginning of the name of a seed's image."""
    return f"seed-{seed:04d}"


def report_file(written: str) -> str:
    """Name of a method's report."""
    return f"report-{_options.slug(written)}.json"


def _arguments(task: Task, tick: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"num_inference_steps": task.steps}
    if "callback_on_step_end" in parameters(task.pipe):

        def after(_pipe: Any, index: int, _timestep: Any, _tensors: Any) -> dict[str, Any]:
            tick(f"step {index + 1}")
            return {}

        arguments["callback_on_step_end"] = after
    return arguments
