"""What has to be seen on a CUDA device, in one command that goes on where it was left.

    python -m benchmarks.gpu.measure                          # or: make gpu
    python -m benchmarks.gpu.measure --device cpu --tiny      # whether it starts, anywhere: two minutes, into runs/gpu

Every part runs in a process of its own, for no longer than its share of the time, and writes
benchmarks/results/gpu/PART.json after every item. What is there already, of the same device, is skipped: start it again
after an interrupt, or for what was left out. It downloads nothing; models have random weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from benchmarks.common import RESULTS, ROOT
from benchmarks.gpu.parts import PARTS
from benchmarks.gpu.store import list_left, read_part, write_part
from padecast import InvalidOption
from padecast.calibration.provenance import device_name

SAY = Console(stderr=True)
MINUTES = 40.0
LEAST = 30.0
"""Seconds without which no part is begun: it imports for a part of them."""
GRACE = 20.0
"""Seconds that the item in work has to end, when the time of its part is over."""


def main() -> None:
    """Measure what is left, part by part, and say what is left then."""
    options = parse()
    device, folder = options.device, options.out or find_folder(options.device, tiny=options.tiny)
    check_device(device)
    for name in options.again:
        (folder / f"{name}.json").unlink(missing_ok=True)
    end = time.monotonic() + 60 * options.minutes
    names = options.part or list(PARTS)
    for number, name in enumerate(names, 1):
        left, seconds = _left(name, folder, device, options.tiny), end - time.monotonic()
        share = min(PARTS[name].seconds * options.minutes / MINUTES, seconds)
        about = f"[{number} of {len(names)}] {name}: {PARTS[name].about}"
        if not left:
            _say(f"{about}: done already")
        elif seconds < LEAST:
            _say(f"{about}: left out, the time is over")
        else:
            _say(f"{about}: {len(left)} left, at most {share:.0f} s; {seconds / 60:.0f} minutes left in all")
            run_part(name, folder, share, device, tiny=options.tiny)
    summarise(names, folder, device, tiny=options.tiny)


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument("--again", action="append", choices=PARTS, default=[], help="forget this part's results")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="for all parts together (default: 40)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="tiny sizes, which show whether it runs and nothing else")
    parser.add_argument("--out", type=Path, help="folder of the result files")
    return parser.parse_args()


def find_folder(device: str, *, tiny: bool) -> Path:
    """Return where results lie: those that are no figures of a CUDA device lie apart."""
    return RESULTS / "gpu" if device == "cuda" and not tiny else ROOT / "runs" / "gpu"


def check_device(device: str) -> None:
    """Raise unless the device is there.

    Raises:
        InvalidOption: With the command that shows on any machine whether everything starts.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InvalidOption(
            f"torch {torch.__version__} sees no CUDA device.\nUsual cause: a machine without a GPU, a torch that was "
            "built for the CPU, or a driver that is too old for it (nvidia-smi tells).\n"
            "To see whether everything starts here: python -m benchmarks.gpu.measure --device cpu --tiny"
        )


def run_part(name: str, folder: Path, seconds: float, device: str, *, tiny: bool) -> None:
    """Measure what is left of a part in a process of its own, and end it when its time is over."""
    command = [sys.executable, "-m", "benchmarks.gpu.work", name, "--out", str(folder)]
    command += ["--until", str(time.time() + seconds)] + ["--tiny"] * tiny
    quiet = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **quiet, **hidden})
    try:
        code = process.wait(seconds + GRACE)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        process.kill()
        process.wait()
    if code != 0:
        note_end(name, folder, "its time was over" if code is None else f"its process ended with {code}")


def note_end(name: str, folder: Path, why: str) -> None:
    """Write what ended a process at the item that it was in; one that never came so far is told of here alone."""
    document = read_part(folder, name)
    _say(f"  {name}: {why}")
    for item in document["items"].values():
        if "error" in item and "seconds" not in item:
            item["error"] = why
    if document["items"]:
        write_part(folder, document)


def summarise(names: list[str], folder: Path, device: str, *, tiny: bool) -> None:
    """Say what is done, what failed, and what is left."""
    count = 0
    for name in names:
        document, items = read_part(folder, name), PARTS[name].items(tiny)
        left = _left(name, folder, device, tiny)
        _say(f"{name}: {len(items) - len(left)} of {len(items)} done")
        for item in left:
            _say(f"  left: {item}: {document['items'].get(item, {}).get('error', 'not begun')}")
        failed = (document["items"].get("tests/gpu", {}).get("result") or {}).get("failed", {})
        for test, why in failed.items():
            _say(f"  failed: {test}: {why}")
        count += len(left)
    where = folder.relative_to(ROOT) if folder.is_relative_to(ROOT) else folder
    _say(f"results: {where}" + (f"; {count} left: start the same command again" if count else "; all is done"))


def _left(name: str, folder: Path, device: str, tiny: bool) -> list[str]:
    words = device_name("cpu" if device == "cpu" else "cuda")
    return list_left(read_part(folder, name), PARTS[name].items(tiny), words)


def _say(text: str) -> None:
    SAY.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    try:
        main()
    except InvalidOption as error:
        raise SystemExit(str(error)) from None
