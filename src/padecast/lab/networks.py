"""Published networks as scores of images: how each is called, and the form of images it wants.

The table of them, and what they need, is in :mod:`padecast.lab.pretrained`.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import Tensor

from padecast import files
from padecast._errors import InvalidOption
from padecast.lab.scores import Asked, Distance, Judged, Likeness, Score

SMALLEST = 64
"""Pixels of the shorter side that AlexNet needs; smaller images are enlarged."""
RATE = 8
"""Frames a second of the clips that VBench is given."""


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


def prompts(requests: Asked, metric: str) -> list[str]:
    """Return what samples were asked for, if it is text.

    Raises:
        InvalidOption: If it is classes or seeds.
    """
    if not all(isinstance(request, str) for request in requests):
        raise InvalidOption(
            f"{metric} compares images with prompts, and these were asked for as {requests[0]!r}.\n"
            "Leave it out for pipelines without prompts."
        )
    return list(requests)


# Networks -------------------------------------------------------------------------------------------------------------


def lpips() -> Score:
    """LPIPS with AlexNet, between each image and its reference."""
    from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

    network = LearnedPerceptualImagePatchSimilarity(net_type="alex", normalize=True).to(device())

    def apart(images: Tensor, reference: Tensor) -> Tensor:
        pairs = zip(*(_large_enough(colours(x)) for x in (images, reference)), strict=True)
        return per_sample([float(network(left[None], right[None])) for left, right in pairs], len(images))

    return Likeness(apart)


def _large_enough(images: Tensor) -> Tensor:
    scale = SMALLEST / min(images.shape[-2:])
    return F.interpolate(images, scale_factor=scale, mode="bilinear").clamp(0, 1) if scale > 1 else images


def fid() -> Score:
    """Distance of Inception's features, pool 3 of 2048."""
    from torchmetrics.image.fid import FrechetInceptionDistance

    network = FrechetInceptionDistance(feature=2048, normalize=True).inception.to(device())
    return Distance(lambda images: network(eight_bit(colours(images))).float())


def clip() -> Score:
    """100 times the cosine of image and prompt, ViT-L/14, averaged over frames."""
    from torchmetrics.multimodal import CLIPScore

    network = CLIPScore(model_name_or_path="openai/clip-vit-large-patch14").to(device())

    def fits(images: Tensor, requests: Asked) -> Tensor:
        frames, words = eight_bit(colours(images)), prompts(requests, "CLIP score")
        each = len(frames) // len(images)
        values = [float(network(frame, words[place // each])) for place, frame in enumerate(frames)]
        return per_sample(values, len(images))

    return Judged(fits)


def image_reward() -> Score:
    """ImageReward of each image, or of a clip's middle frame, and its prompt."""
    import ImageReward  # type: ignore[import-not-found]
    from PIL import Image

    network = ImageReward.load("ImageReward-v1.0", device=str(device()))

    def rewards(images: Tensor, requests: Asked) -> Tensor:
        stills = images[:, images.shape[1] // 2] if images.ndim == 5 else images
        pictures = eight_bit(colours(stills)).permute(0, 2, 3, 1).cpu().numpy()
        pairs = zip(prompts(requests, "ImageReward"), pictures, strict=True)
        return per_sample(
            [float(network.score(words, Image.fromarray(picture))) for words, picture in pairs], len(images)
        )

    return Judged(rewards)


def vbench(dimension: str) -> Score:
    """One dimension of VBench that needs no prompt, of clips."""
    import vbench  # type: ignore[import-not-found]

    information = Path(vbench.__file__).with_name("VBench_full_info.json")
    vbench.utils.init_submodules([dimension])  # fetches the weights now, rather than after the first clips

    def judge(images: Tensor, requests: Asked) -> Tensor:
        if images.ndim != 5:
            raise InvalidOption("VBench judges clips, and these are images.\nLeave it out for pipelines of images.")
        with TemporaryDirectory() as folder:
            clips = Path(folder, "clips")
            names = _write(images, clips)
            judges = vbench.VBench(device(), str(information), folder)
            judges.evaluate(str(clips), "clips", dimension_list=[dimension], mode="custom_input")
            document = files.read_json(Path(folder, "clips_eval_results.json"))
        scores = {Path(row["video_path"]).name: float(row["video_results"]) for row in document[dimension][1]}
        return torch.tensor([scores[name] for name in names], dtype=torch.float64)

    return Judged(judge)


def _write(clips: Tensor, folder: Path) -> list[str]:
    """Write clips ``(B, frames, C, H, W)`` as files, and return their names."""
    from diffusers.utils import export_to_video

    folder.mkdir()
    names = [f"{place:05d}.mp4" for place in range(len(clips))]
    for name, clip in zip(names, clips, strict=True):
        frames = list(colours(clip).permute(0, 2, 3, 1).cpu().numpy())
        export_to_video(frames, str(folder / name), fps=RATE)
    return names
