"""What it costs to keep the history in fewer bytes, or on the host: PSNR on the demo model, and bytes.

    python -m benchmarks.cost.history

Both settings, 20 steps, the first 32 test seeds: tc-pade with 8 computed steps, adaptive, and the shipped calibration
with 8, with the history in the features' dtype (float32), bfloat16, float16 and two kinds of float8, and in bfloat16 on
the host. Fidelity is that to the uncached images. Writes benchmarks/results/history.json.
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from torch import Tensor

import padecast
from benchmarks.common import SETTINGS, TEST, Document, progress, provenance, task, write
from padecast import lab, zoo
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


def measure(setting: str) -> Document:
    """Measure one setting: bytes of the history, and the PSNR of every seed by method."""
    work = task(setting, seeds=TEST[:32])
    methods = {
        "tc-pade's forecaster, every=4, warmup=3": Method(
            "tc-pade", Interval(every=4, warmup=3), TCPade(), "on a usual plan"
        ),
        "adaptive": padecast.method("adaptive"),
        "calibrated, 8": zoo.calibration("digits", setting).method(computed=8),
    }
    rows: Document = {name: {"bytes": 0, "psnr": {m: [] for m in methods}, "nfe": {}} for name in STORED}
    batches = [work.seeds[i : i + work.batch] for i in range(0, len(work.seeds), work.batch)]
    with progress(len(batches) * (1 + len(STORED) * len(methods)), setting) as tell, quiet(work.pipe):
        for seeds in batches:
            reference = draw(work, seeds)
            tell("uncached")
            for storage, options in STORED.items():
                for name, method in methods.items():
                    with padecast.accelerate(work.pipe, method, measure=False, **options) as run:
                        images, report = draw(work, seeds), run.report
                    rows[storage]["psnr"][name] += psnr(images, reference).tolist()
                    rows[storage]["nfe"].setdefault(name, []).append(report.computed)
                    rows[storage]["bytes"] = max(rows[storage]["bytes"], report.history_bytes)
                    tell(storage)
    return rows


def draw(work: lab.Task, seeds: tuple[int, ...]) -> Tensor:
    """Draw a batch."""
    images = work.call(work.pipe, seeds, num_inference_steps=work.steps)
    return torch.as_tensor(getattr(images, "images", images))


def main() -> None:
    """Measure and write; docs/costs.md has the table."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    write("history.json", {"settings": {setting: measure(setting) for setting in SETTINGS}, "provenance": provenance()})


if __name__ == "__main__":
    main()
