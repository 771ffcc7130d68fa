"""Metrics of published networks, for real checkpoints: LPIPS, Inception FID, CLIP score, ImageReward and VBench.

They are columns of an experiment, ``metrics = ["lpips", "clip"]``, and say little of images as small as the demo
models'. Each loads its network through the library that keeps it, when it is first used:

================== ================================================ ============================ ==================
name               figure                                           library                      install
================== ================================================ ============================ ==================
``lpips``          distance to the uncached image, AlexNet; less    torchmetrics, torchvision    ``padecast[metrics]``
``fid``            Inception FID to the uncached images; less       torchmetrics, torch-fidelity ``padecast[metrics]``
``clip``           100 cos(image, prompt), ViT-L/14; more           torchmetrics, transformers   ``padecast[metrics]``
``image-reward``   ImageReward of image and prompt; more            ImageReward                  ``image-reward``
``vbench-...``     a dimension of VBench that needs no prompt; more vbench                       ``vbench``
================== ================================================ ============================ ==================

ImageReward and VBench ask for releases of transformers and numpy that are older than ours, and so for an environment
of their own.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from padecast._errors import InvalidOption, MissingPackage, MissingWeights, unknown
from padecast.lab.scores import Asked, Distance, Judged, Likeness, Score

SMALLEST = 64
"""Pixels of the shorter side that AlexNet needs; smaller images are enlarged."""
RATE = 8
"""Frames a second of the clips that VBench is given."""


@dataclass(frozen=True)
class Metric:
    """A published network, and how to come by it.

    Args:
        column: Of tables.
        modules: What is imported.
        install: The command that installs them.
        weights: Which weights are loaded, and how they come here.
        load: Returns the score, its network loaded.
    """

    column: str
    modules: tuple[str, ...]
    install: str
    weights: str
    load: Callable[[], Score]


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
    chosen = list(names)
    check_metrics(chosen)
    return {METRICS[name].column: loaded(name) for name in chosen}


@cache
def loaded(name: str) -> Score:
    """Load one metric; see :func:`metrics_of`."""
    metric = METRICS[name]
    for module in metric.modules:
        _imported(module, metric)
    try:
        return metric.load()
    except (MissingPackage, InvalidOption):
        raise
    except Exception as error:
        told = str(error).strip().split("\n")[0][:200]
        raise MissingWeights(
            f"the network of {metric.column} could not be loaded: {type(error).__name__}: {told}\n"
            f"It needs {metric.weights}.\nWithout a network, fetch it elsewhere and copy it there, or leave "
            f"{name!r} out of the metrics."
        ) from error


def _imported(module: str, metric: Metric) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.split(".")[0]
        there = isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] == package
        fact = "which is not installed" if there else f"which cannot be imported: {error}"
        raise MissingPackage(
            f"{metric.column} needs the package {package!r}, {fact}.\nInstall it: {metric.install}"
        ) from error


def device() -> torch.device:
    """Where networks run."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


# Images ---------------------------------------------------------------------------------------------------------------


def colours(images: Tensor) -> Tensor:
    """Return images or all frames of clips as ``(N, 3, H, W)`` in [0, 1] on the device.

    Example:
        >>> colours(torch.zeros(2, 5, 1, 8, 8)).shape
        torch.Size([10, 3, 8, 8])
    """
    flat = images.flatten(0, -4) if images.ndim == 5 else images
    three = flat.expand(-1, 3, -1, -1) if flat.shape[1] == 1 else flat[:, :3]
    return three.detach().float().nan_to_num(0.0).clamp(0, 1).to(device())


def eight_bit(images: Tensor) -> Tensor:
    """Return them as networks were trained on them: whole numbers from 0 to 255."""
    return (images * 255).round().to(torch.uint8)


def per_sample(values: list[float], samples: int) -> Tensor:
    """Return the means over the frames of each sample."""
    return torch.tensor(values, dtype=torch.float64).reshape(samples, -1).mean(1)


def prompts(asked: Asked, metric: str) -> list[str]:
    """Return what samples were asked for, if it is text.

    Raises:
        InvalidOption: If it is classes or seeds.
    """
    if not all(isinstance(one, str) for one in asked):
        raise InvalidOption(
            f"{metric} compares images with prompts, and these were asked for as {asked[0]!r}.\n"
            "Leave it out for pipelines without prompts."
        )
    return list(asked)


# Networks -------------------------------------------------------------------------------------------------------------


def _lpips() -> Score:
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    network = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).to(device())

    def apart(images: Tensor, reference: Tensor) -> Tensor:
        pairs = zip(*(_large_enough(colours(x)) for x in (images, reference)), strict=True)
        return per_sample([float(network(one[None], two[None])) for one, two in pairs], len(images))

    return Likeness(apart)


def _large_enough(images: Tensor) -> Tensor:
    scale = SMALLEST / min(images.shape[-2:])
    return F.interpolate(images, scale_factor=scale, mode="bilinear").clamp(0, 1) if scale > 1 else images


def _fid() -> Score:
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = FrechetInceptionDistance(feature=2048, normalize=True).inception.to(device())
    return Distance(lambda images: network(eight_bit(colours(images))).float())


def _clip() -> Score:
    from torchmetrics.multimodal import CLIPScore

    network = CLIPScore(model_name_or_path="openai/clip-vit-large-patch14").to(device())

    def fits(images: Tensor, asked: Asked) -> Tensor:
        frames, words = eight_bit(colours(images)), prompts(asked, "CLIP score")
        each = len(frames) // len(images)
        values = [float(network(frame, words[place // each])) for place, frame in enumerate(frames)]
        return per_sample(values, len(images))

    return Judged(fits)


def _image_reward() -> Score:
    import ImageReward  # type: ignore[import-not-found]
    from PIL import Image

    network = ImageReward.load("ImageReward-v1.0", device=str(device()))

    def rewards(images: Tensor, asked: Asked) -> Tensor:
        stills = images[:, images.shape[1] // 2] if images.ndim == 5 else images
        pictures = eight_bit(colours(stills)).permute(0, 2, 3, 1).cpu().numpy()
        pairs = zip(prompts(asked, "ImageReward"), pictures, strict=True)
        return per_sample([float(network.score(words, Image.fromarray(one))) for words, one in pairs], len(images))

    return Judged(rewards)


def _vbench(dimension: str) -> Score:
    import vbench  # type: ignore[import-not-found]

    information = Path(vbench.__file__).with_name("VBench_full_info.json")
    vbench.utils.init_submodules([dimension])  # fetches the weights now, rather than after the first clips

    def judge(images: Tensor, asked: Asked) -> Tensor:
        if images.ndim != 5:
            raise InvalidOption("VBench judges clips, and these are images.\nLeave it out for pipelines of images.")
        with TemporaryDirectory() as folder:
            clips = Path(folder, "clips")
            names = _written(images, clips)
            judges = vbench.VBench(device(), str(information), folder)
            judges.evaluate(str(clips), "clips", dimension_list=[dimension], mode="custom_input")
            document = json.loads(Path(folder, "clips_eval_results.json").read_text(encoding="utf-8"))
        found = {Path(row["video_path"]).name: float(row["video_results"]) for row in document[dimension][1]}
        return torch.tensor([found[name] for name in names], dtype=torch.float64)

    return Judged(judge)


def _written(clips: Tensor, folder: Path) -> list[str]:
    """Write clips ``(B, frames, C, H, W)`` as files, and return their names."""
    from diffusers.utils import export_to_video

    folder.mkdir()
    names = [f"{place:05d}.mp4" for place in range(len(clips))]
    for name, clip in zip(names, clips, strict=True):
        frames = list(colours(clip).permute(0, 2, 3, 1).cpu().numpy())
        export_to_video(frames, str(folder / name), fps=RATE)
    return names


HERE = 'pip install "padecast[metrics]"'
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
        ("torchmetrics.image.lpip", "torchvision"),
        HERE,
        f"torchvision's AlexNet, alexnet-owt-7be5be79.pth, downloaded or {TORCH_HUB}",
        _lpips,
    ),
    "fid": Metric(
        "FID (Inception)",
        ("torchmetrics.image.fid", "torch_fidelity"),
        HERE,
        f"torch-fidelity's pt_inception-2015-12-05-6726825d.pth, downloaded or {TORCH_HUB}",
        _fid,
    ),
    "clip": Metric(
        "CLIP score",
        ("torchmetrics.multimodal", "transformers"),
        HERE,
        "openai/clip-vit-large-patch14 from the Hugging Face hub, downloaded or in its cache ($HF_HOME)",
        _clip,
    ),
    "image-reward": Metric(
        "ImageReward",
        ("ImageReward",),
        "pip install image-reward",
        "ImageReward.pt and med_config.json of THUDM/ImageReward, downloaded or in ~/.cache/ImageReward",
        _image_reward,
    ),
    **{
        f"vbench-{dimension.replace('_', '-')}": Metric(
            f"VBench {dimension.replace('_', ' ')}",
            ("vbench", "imageio_ffmpeg", "diffusers"),
            "pip install vbench imageio-ffmpeg",
            "its networks of this dimension, downloaded or in ~/.cache/vbench ($VBENCH_CACHE_DIR)",
            partial(_vbench, dimension),
        )
        for dimension in DIMENSIONS
    },
}
