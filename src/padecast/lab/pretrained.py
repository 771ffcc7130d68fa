"""Metrics of published networks, for real checkpoints: LPIPS, Inception FID, CLIP score, ImageReward and VBench.

They are columns of an experiment, ``metrics = ["lpips", "clip"]``, and say little of images as small as the demo
models'. Each loads its network through the library that keeps it, when it is first used:

================== ================================================ ===================== =========================
name               figure                                           library                      install
================== ================================================ ===================== =========================
``lpips``          distance to the uncached image, AlexNet; less    torchmetrics, torchvision    extra ``metrics``
``fid``            Inception FID to the uncached images; less       torchmetrics, torch-fidelity extra ``metrics``
``clip``           100 cos(image, prompt), ViT-L/14; more           torchmetrics, transformers   extra ``metrics``
``image-reward``   ImageReward of image and prompt; more            ImageReward                  ``image-reward``
``vbench-...``     a dimension of VBench that needs no prompt; more vbench                       ``vbench``
================== ================================================ ===================== =========================

The extra is one of ``padecast-lab``. ImageReward and VBench ask for releases of transformers and numpy that are older
than ours, and so for an environment of their own.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from padecast._errors import InvalidOption, MissingPackage, MissingWeights, unknown
from padecast.lab import networks
from padecast.lab.scores import Likeness, Score


@dataclass(frozen=True)
class Metric:
    """A published network, and how to come by it.

    Args:
        column: Of tables.
        load: Returns the score, its network loaded.
        modules: What is imported.
        install: The command that installs them.
        weights: Which weights are loaded, and how they come here.
    """

    column: str
    load: Callable[[], Score]
    modules: tuple[str, ...] = ()
    install: str = ""
    weights: str = ""


def check_metrics(names: Iterable[str]) -> None:
    """Raise if a metric is unknown.

    Raises:
        UnknownName: The message names the nearest.

    Example:
        >>> check_metrics(["lpips", "clips"])
        Traceback (most recent call last):
            ...
        padecast._errors.UnknownName: unknown metric 'clips'; the nearest is 'clip'.
        ...
    """
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)


def metrics_of(names: Iterable[str]) -> dict[str, Score]:
    """Load metrics, each once.

    Returns:
        Scores by the names of their columns.

    Raises:
        UnknownName: If a metric is unknown.
        MissingPackage: If a package is not installed, or cannot be imported; the message has the command.
        MissingWeights: If a network cannot be loaded; the message says which, and where it is looked for.
    """
    selection = list(names)
    check_metrics(selection)
    return {METRICS[name].column: load(name) for name in selection}


@cache
def load(name: str) -> Score:
    """Load one metric; see :func:`metrics_of`."""
    metric = METRICS[name]
    for module in metric.modules:
        _import(module, metric)
    try:
        return metric.load()
    except (MissingPackage, InvalidOption):
        raise
    except Exception as error:
        text = str(error).strip().split("\n")[0][:200]
        raise MissingWeights(
            f"the network of {metric.column} could not be loaded: {type(error).__name__}: {text}\n"
            f"It needs {metric.weights}.\nWithout a network, fetch it elsewhere and copy it there, or leave "
            f"{name!r} out of the metrics."
        ) from error


def is_at_hand(name: str) -> bool:
    """Whether a metric can be loaded without a download: its packages are installed, and its weights in torch's folder.

    Only of LPIPS it is known where they are; of any other metric the answer is no.
    """
    weights = Path(torch.hub.get_dir()) / "checkpoints" / ALEXNET
    roots = {module.partition(".")[0] for module in METRICS[name].modules}
    return name == "lpips" and weights.is_file() and all(importlib.util.find_spec(root) for root in roots)


def load_distance(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Load a metric that compares every image with its reference, for :func:`padecast.calibrate`.

    Args:
        name: Such as ``"lpips"``.

    Returns:
        A function of that name, of images and references ``(B, ...)``; returns ``(B,)``, less being better.

    Raises:
        UnknownName: If the metric is unknown.
        InvalidOption: If it is one of many images together, or of prompts.
        MissingPackage: If a package is not installed, or cannot be imported; the message has the command.
        MissingWeights: If its network cannot be loaded; the message says which, and where it is looked for.
    """
    (score,) = metrics_of([name]).values()
    if not isinstance(score, Likeness):
        raise InvalidOption(f"{name!r} does not compare single images with references.\nTake another, such as 'lpips'.")

    def distance(images: Tensor, reference: Tensor) -> Tensor:
        return score.rows(images, reference, ())

    distance.__name__ = name
    return distance


def _import(module: str, metric: Metric) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        absent = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == package
        fact = "which is not installed" if absent else f"which cannot be imported: {error}"
        raise MissingPackage(
            f"{metric.column} needs the package {package!r}, {fact}.\nInstall it: {metric.install}"
        ) from error


HERE = 'pip install "padecast-lab[metrics]"'
ALEXNET = "alexnet-owt-7be5be79.pth"
TORCH_HUB = "in torch's hub folder (~/.cache/torch/hub/checkpoints, or $TORCH_HOME/hub/checkpoints)"
DIMENSIONS = (
    "subject_consistency",
    "background_consistency",
    "temporal_flickering",
    "motion_smoothness",
    "dynamic_degree",
    "aesthetic_quality",
    "imaging_quality",
)
"""Of VBench: those that judge a clip by itself."""

METRICS: dict[str, Metric] = {
    "lpips": Metric(
        "LPIPS",
        networks.lpips,
        ("torchmetrics.image.lpip", "torchvision"),
        HERE,
        f"torchvision's AlexNet, {ALEXNET}, downloaded or {TORCH_HUB}",
    ),
    "fid": Metric(
        "FID (Inception)",
        networks.fid,
        ("torchmetrics.image.fid", "torch_fidelity"),
        HERE,
        f"torch-fidelity's pt_inception-2015-12-05-6726825d.pth, downloaded or {TORCH_HUB}",
    ),
    "clip": Metric(
        "CLIP score",
        networks.clip,
        ("torchmetrics.multimodal", "transformers"),
        HERE,
        "openai/clip-vit-large-patch14 from the Hugging Face hub, downloaded or in its cache ($HF_HOME)",
    ),
    "image-reward": Metric(
        "ImageReward",
        networks.image_reward,
        ("ImageReward",),
        "pip install image-reward",
        "ImageReward.pt and med_config.json of THUDM/ImageReward, downloaded or in ~/.cache/ImageReward",
    ),
    **{
        f"vbench-{dimension.replace('_', '-')}": Metric(
            f"VBench {dimension.replace('_', ' ')}",
            partial(networks.vbench, dimension),
            ("vbench", "imageio_ffmpeg", "diffusers"),
            "pip install vbench imageio-ffmpeg",
            "its networks of this dimension, downloaded or in ~/.cache/vbench ($VBENCH_CACHE_DIR)",
        )
        for dimension in DIMENSIONS
    },
}
