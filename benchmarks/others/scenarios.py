"""The kinds of run: how each is done, and from scenarios.toml what the right answer is and what is known of others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import diffusers

from benchmarks.others import runs
from benchmarks.others.libraries import Library
from benchmarks.others.pipelines import flux, flux_controlnet, image_to_image, wan, wan_heun
from benchmarks.others.rig import Finding
from padecast import files

WORDS = files.read_toml(Path(__file__).with_name("scenarios.toml"))
LOOKS: dict[str, Callable[[Library], Finding]] = {
    "plain": runs.run_plainly,
    "interrupted": runs.run_after_interruption,
    "interrupted, then larger": lambda library: runs.run_after_interruption(library, size=24),
    "interrupted, then a batch": lambda library: runs.run_after_interruption(library, count=2),
    "image to image": runs.begin_in_the_middle,
    "named branches": runs.run_two_branches(flux),
    "unnamed branches": runs.run_two_branches(image_to_image, strength=1.0),
    "Wan": runs.run_two_branches(wan),
    "Heun": lambda library: runs.run_in_all(library, wan_heun),
    "shared transformer": lambda library: runs.share(library, diffusers.FluxPipeline),
    "shared, other class": lambda library: runs.share(library, diffusers.FluxImg2ImgPipeline),
    "enabled late": runs.enable_late,
    "controls": lambda library: runs.run_in_all(library, flux_controlnet),
    "disabled": runs.disable,
    "batch mates": runs.draw_mates,
}
"""What is done in each kind of run."""
NOTES: dict[tuple[str, str], str] = {
    (scenario, library): note["text"]
    for note in WORDS["notes"]
    for scenario in note["scenarios"]
    for library in note["libraries"]
}
"""What is known of a library in a kind of run."""
