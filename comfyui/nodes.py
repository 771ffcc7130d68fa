"""The nodes that accelerate a model, tell what was done, and compare."""

from __future__ import annotations

import os
import sys
import textwrap
from pathlib import Path
from typing import Any

import folder_paths
import torch
from comfy_api.latest import io, ui

import padecast
from padecast.integrations import comfy

CATEGORY = "padecast"
FOLDER = "padecast"
"""Of ``models``: where calibrations are looked for."""
MODES = ("adaptive", "fixed")
FORECASTERS = ("damped line", "line", "repetition")
WRITTEN = {"damped line": "tcpade:damping=16", "line": "lagrange:degree=1", "repetition": "reuse"}
EPSILON = 1e-10
WIDTH = 46
"""Characters of a line of text on a node that is 380 wide."""

folder_paths.add_model_folder_path(FOLDER, os.path.join(folder_paths.models_dir, FOLDER))
folder_paths.folder_names_and_paths[FOLDER][1].add(".json")


def window() -> list[io.Input]:
    """Return the inputs that every node that accelerates has, under "advanced"."""
    return [
        io.Float.Input(
            "start",
            default=0.0,
            min=0.0,
            max=1.0,
            step=0.01,
            advanced=True,
            tooltip="Share of the run before which every step is computed.",
        ),
        io.Float.Input(
            "end",
            default=1.0,
            min=0.0,
            max=1.0,
            step=0.01,
            advanced=True,
            tooltip="Share of the run after which every step is computed.",
        ),
        io.Int.Input(
            "most_in_a_row",
            default=0,
            min=0,
            max=100,
            advanced=True,
            tooltip="Forecast steps in a row, at most. 0: as many as the mode wants.",
        ),
        io.Boolean.Input(
            "history_on_host",
            default=False,
            advanced=True,
            tooltip="Keep what is remembered in host memory. It is small: a few latents for each prompt.",
        ),
        io.Boolean.Input(
            "verbose", default=False, advanced=True, tooltip="Print the report of every run to the console."
        ),
    ]


def model_input() -> io.Input:
    """Return the model that is accelerated."""
    return io.Model.Input("model", tooltip="The model, after LoRA and other patches.")


def model_output() -> io.Output:
    """Return the accelerated model."""
    told = "The same model; a sampler that is given it computes some steps and forecasts others."
    return io.Model.Output(tooltip=told)


class Padecast(io.ComfyNode):
    """The node that most people need."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="Padecast",
            display_name="padecast",
            category=CATEGORY,
            description="Sample faster: run the model at some steps, and forecast it at the others.",
            search_aliases=["cache", "speed up", "accelerate", "teacache", "easycache", "faster"],
            inputs=[
                model_input(),
                io.Combo.Input(
                    "mode",
                    options=list(MODES),
                    default="adaptive",
                    tooltip="adaptive: computes when forecasts may have led the image astray. fixed: computes a fixed "
                    "number of steps, closest where the model changes fastest.",
                ),
                io.Float.Input(
                    "number",
                    default=0.0,
                    min=0.0,
                    max=20.0,
                    step=0.0005,
                    round=0.0001,
                    tooltip="adaptive: the tolerance; more is faster and less faithful, 0.0005 is the default. fixed: "
                    "steps for one that is computed, 3 is the default. 0: the default.",
                ),
                *window(),
            ],
            outputs=[model_output()],
        )

    @classmethod
    def execute(cls, model: Any, mode: str, number: float, **options: Any) -> io.NodeOutput:
        """Accelerate the model."""
        if mode == "adaptive":
            method = f"adaptive:tolerance={number:g}" if number else "adaptive"
        else:
            method = f"tc-pade:every={max(number or 3.0, 1.0):g}"
        return io.NodeOutput(attach(model, method, **options))


class PadecastPlan(io.ComfyNode):
    """Compute the steps that are written down."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastPlan",
            display_name="padecast plan",
            category=CATEGORY,
            description="Compute the steps that are written down, one letter a step: C computed, . forecast.",
            inputs=[
                model_input(),
                io.String.Input(
                    "plan",
                    default="CCC.C..C...C...C...C",
                    tooltip="As many letters as the sampler has steps, the first a C. A run of another length is "
                    "refused.",
                ),
                io.Combo.Input(
                    "forecaster",
                    options=list(FORECASTERS),
                    default=FORECASTERS[0],
                    tooltip="What stands in for a step that is not computed.",
                ),
                *window(),
            ],
            outputs=[model_output()],
        )

    @classmethod
    def execute(cls, model: Any, plan: str, forecaster: str, **options: Any) -> io.NodeOutput:
        """Accelerate the model."""
        policy = padecast.policies.Plan(plan.strip())
        forecast = padecast.forecasters.REGISTRY.make(WRITTEN[forecaster])
        return io.NodeOutput(attach(model, None, policy=policy, forecaster=forecast, **options))


class PadecastCalibration(io.ComfyNode):
    """Follow the plans of a calibration."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastCalibration",
            display_name="padecast calibration",
            category=CATEGORY,
            description="Follow the plan of a calibration: a small file that belongs to a model and its noise levels.",
            inputs=[
                model_input(),
                io.Combo.Input(
                    "file",
                    options=["", *folder_paths.get_filename_list(FOLDER)],
                    default="",
                    tooltip="A file of models/padecast. Make one with `padecast calibrate`.",
                ),
                io.Int.Input(
                    "computed",
                    default=8,
                    min=1,
                    max=1000,
                    tooltip="Steps that are computed; one of the numbers that the calibration has.",
                ),
                io.Float.Input(
                    "decibels",
                    default=0.0,
                    min=0.0,
                    max=120.0,
                    step=1.0,
                    advanced=True,
                    tooltip="In place of a number of steps: as few as reached so many decibels. 0: by the number.",
                ),
                *window(),
                io.String.Input(
                    "hub",
                    default="",
                    advanced=True,
                    tooltip="In place of a file: a repository of the Hub, as ORG/NAME or ORG/NAME@REVISION. Its file "
                    "is fetched once.",
                ),
                io.String.Input(
                    "hub_file",
                    default="",
                    advanced=True,
                    tooltip="Which file of the repository, if it has several.",
                ),
            ],
            outputs=[model_output()],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        file: str,
        computed: int,
        decibels: float,
        hub: str = "",
        hub_file: str = "",
        **options: Any,
    ) -> io.NodeOutput:
        """Accelerate the model."""
        wish = {"decibels": decibels} if decibels else {"computed": computed}
        return io.NodeOutput(attach(model, load_calibration(file, hub, hub_file), **wish, **options))


class PadecastLearned(io.ComfyNode):
    """Learn from the first run, and follow plans afterwards."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastLearned",
            display_name="padecast learned",
            category=CATEGORY,
            description="The first run computes every step and teaches; the runs after it follow a plan made for this "
            "model, guidance and schedule. What was learnt is kept in the user's cache folder.",
            inputs=[
                model_input(),
                io.Float.Input(
                    "speedup",
                    default=2.5,
                    min=1.0,
                    max=10.0,
                    step=0.1,
                    tooltip="Steps of a run over those that are computed.",
                ),
                *window(),
            ],
            outputs=[model_output()],
        )

    @classmethod
    def execute(cls, model: Any, speedup: float, **options: Any) -> io.NodeOutput:
        """Accelerate the model."""
        return io.NodeOutput(attach(model, f"learned:speedup={speedup:g}", **options))


class PadecastReport(io.ComfyNode):
    """Say what the latest run did."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastReport",
            display_name="padecast report",
            category=CATEGORY,
            description="Say how many steps the run computed, which, and what it remembered.",
            inputs=[
                io.Model.Input("model", tooltip="The accelerated model that the sampler was given."),
                io.Latent.Input("latent", tooltip="What the sampler returned: the report waits for it."),
            ],
            outputs=[
                io.Latent.Output(tooltip="The same latent."),
                io.String.Output(tooltip="The report."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
            not_idempotent=True,
        )

    @classmethod
    def fingerprint_inputs(cls, **_: Any) -> float:
        """Run anew every time: another run may have had the same inputs."""
        return float("nan")

    @classmethod
    def execute(cls, model: Any, latent: Any) -> io.NodeOutput:
        """Return the latent and the report."""
        report = comfy.report_of(model)
        text = "No padecast node is before this model, or it has not sampled yet." if report is None else str(report)
        show_text(cls, text)
        return io.NodeOutput(latent, text, ui=ui.PreviewText(text))


class PadecastCompare(io.ComfyNode):
    """Say how far two pictures are apart."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """See ComfyUI."""
        return io.Schema(
            node_id="PadecastCompare",
            display_name="padecast compare",
            category=CATEGORY,
            description="Say how far two batches of pictures are apart: PSNR in decibels, and the largest difference.",
            inputs=[
                io.Image.Input("reference", tooltip="Drawn without acceleration."),
                io.Image.Input("image", tooltip="Drawn with it, from the same seed."),
            ],
            outputs=[
                io.Float.Output(
                    display_name="PSNR", tooltip="In decibels, the mean over the batch; 100 if they are equal."
                ),
                io.String.Output(tooltip="The same in words."),
            ],
            hidden=[io.Hidden.unique_id],
            is_output_node=True,
        )

    @classmethod
    def execute(cls, reference: torch.Tensor, image: torch.Tensor) -> io.NodeOutput:
        """Return the PSNR, and say it."""
        if reference.shape != image.shape:
            raise ValueError(
                f"the pictures are of different sizes: {tuple(reference.shape)} and {tuple(image.shape)}. "
                "Draw both with the same width, height and batch."
            )
        gap = (reference.double() - image.double()).flatten(1)
        decibels = -10 * gap.square().mean(1).clamp_min(EPSILON).log10()
        text = (
            f"PSNR {float(decibels.mean()):.1f} dB, worst {float(decibels.min()):.1f} dB, "
            f"largest difference {float(gap.abs().max()):.3f} of 1"
        )
        show_text(cls, text)
        return io.NodeOutput(float(decibels.mean()), text, ui=ui.PreviewText(text))


def show_text(node: Any, text: str) -> None:
    """Show a text on a node in the page; what a node puts out as text is in the history alone.

    Args:
        node: The class that runs, which knows the id of its node.
        text: Shown until the node runs again.
    """
    server = getattr(getattr(sys.modules.get("server"), "PromptServer", None), "instance", None)
    number = getattr(getattr(node, "hidden", None), "unique_id", None)
    if server is not None and number is not None:
        # The page breaks lines within words.
        lines = [textwrap.fill(line, WIDTH) for line in text.splitlines()]
        server.send_progress_text("\n".join(lines), number)


def load_calibration(file: str, hub: str, hub_file: str) -> padecast.Calibration:
    """Return a calibration of the folder, or of the Hub where a repository is named.

    Raises:
        ValueError: If neither is named.
    """
    if repository := hub.strip().removeprefix("hub:"):
        return padecast.Calibration.from_pretrained(f"hub:{repository}", filename=hub_file.strip() or None)
    if not file:
        raise ValueError(
            f"no calibration is chosen. Put a file into models/{FOLDER} and choose it, or name a repository as hub. "
            'Without a calibration, take the node "padecast" or "padecast learned".'
        )
    return padecast.Calibration.load(Path(folder_paths.get_full_path_or_raise(FOLDER, file)))


def attach(
    model: Any,
    method: Any,
    *,
    start: float,
    end: float,
    most_in_a_row: int,
    history_on_host: bool,
    verbose: bool,
    **options: Any,
) -> Any:
    """Return a clone of a model that computes some steps and forecasts the others."""
    return comfy.attach(
        model,
        method,
        start=start,
        end=end,
        most=most_in_a_row or None,
        offload=history_on_host,
        on_run=print if verbose else None,
        **options,
    )


NODES = [Padecast, PadecastPlan, PadecastCalibration, PadecastLearned, PadecastReport, PadecastCompare]
