"""What it costs to keep the history in fewer bytes, or on the host: PSNR on the demo model, and bytes.

    python benchmarks/history.py

Both settings, 20 steps, the first 32 test seeds: tc-pade with 8 computed steps, adaptive, and the shipped calibration
with 8, with the history in the features' dtype (float32), bfloat16, float16 and two kinds of float8, and in bfloat16 on
the host. Fidelity is that to the uncached images. Writes benchmarks/results/history.json.
"""

from __future__ import annotations

import dataclasses
from statistics import fmean
from typing import Any

import torch
from common import SETTINGS, TEST, progress, task, write
from rich.console import Console
from rich.table import Table
from torch import Tensor

import padecast
from padecast import lab, zoo
from padecast.calibration.provenance import Provenance
from padecast.calibration.psnr import psnr
from padecast.forecasters import TCPade
from padecast.hooks.quiet import quiet
from padecast.methods import Method
from padecast.policies import Interval

STORED: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16": {"dtype": torch.bfloat16},
    "float16": {"dtype": torch.float16},
    "float8_e4m3fn": {"dtype": torch.float8_e4m3fn},
    "float8_e5m2": {"dtype": torch.float8_e5m2},
    "bfloat16, on the host": {"dtype": torch.bfloat16, "offload": True},
}


def main() -> None:
    """Measure, write, print."""
    found = {setting: measured(setting) for setting in SETTINGS}
    document = {"settings": found, "provenance": dataclasses.asdict(Provenance.of())}
    write("history.json", document)
    for setting, rows in found.items():
        table = Table("history", "bytes", *next(iter(rows.values()))["psnr"], title=f"digits, {setting}: mean PSNR, dB")
        for stored, row in rows.items():
            table.add_row(stored, str(row["bytes"]), *(f"{fmean(v):.2f}" for v in row["psnr"].values()))
        Console().print(table)


def measured(setting: str) -> dict[str, Any]:
    """Measure one setting: bytes of tc-pade, and the PSNR of every seed by method."""
    work = task(setting, seeds=TEST[:32])
    methods = {
        "tc-pade's forecaster, every=4, warmup=3": Method(
            "tc-pade", Interval(every=4, warmup=3), TCPade(), "on a usual plan"
        ),
        "adaptive": padecast.method("adaptive"),
        "calibrated, 8": zoo.calibration("digits", setting).method(computed=8),
    }
    rows: dict[str, Any] = {name: {"bytes": 0, "psnr": {m: [] for m in methods}, "nfe": {}} for name in STORED}
    batches = [work.seeds[i : i + work.batch] for i in range(0, len(work.seeds), work.batch)]
    with progress(len(batches) * (1 + len(STORED) * len(methods)), setting) as tell, quiet(work.pipe):
        for seeds in batches:
            reference = drawn(work, seeds)
            tell("uncached")
            for stored, options in STORED.items():
                for name, chosen in methods.items():
                    images, report = accelerated(work, seeds, chosen, options)
                    rows[stored]["psnr"][name] += psnr(images, reference).tolist()
                    rows[stored]["nfe"].setdefault(name, []).append(report.computed)
                    rows[stored]["bytes"] = max(rows[stored]["bytes"], report.history_bytes)
                    tell(stored)
    return rows


def drawn(work: lab.Task, seeds: tuple[int, ...]) -> Tensor:
    """Draw a batch."""
    images = work.call(work.pipe, seeds, num_inference_steps=work.steps)
    return torch.as_tensor(getattr(images, "images", images))


def accelerated(work: lab.Task, seeds: tuple[int, ...], method: Method, options: dict[str, Any]) -> tuple[Tensor, Any]:
    """Draw a batch with a history stored in a way."""
    with padecast.accelerate(work.pipe, method, measure=False, **options) as run:
        images = drawn(work, seeds)
        return images, run.report


if __name__ == "__main__":
    main()
