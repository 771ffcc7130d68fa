"""Metrics of published networks: how they are called, with networks of our own in their place, and what is missing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import padecast
from padecast.lab import networks, pretrained
from padecast.lab.pretrained import METRICS, check_metrics, metrics_of
from padecast.lab.scores import Score

WORDS = ["a red fox", "a hen"]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    pretrained.load.cache_clear()
    yield
    pretrained.load.cache_clear()


def module(monkeypatch: pytest.MonkeyPatch, name: str, **parts: Any) -> None:
    made = ModuleType(name)
    made.__dict__.update(parts)
    monkeypatch.setitem(sys.modules, name, made)


def only(name: str) -> Score:
    ((column, score),) = metrics_of([name]).items()
    assert column == METRICS[name].column
    return score


def clip(frames: int = 3) -> Tensor:
    return torch.rand(2, frames, 3, 16, 16, generator=torch.Generator().manual_seed(0))


# Calls ----------------------------------------------------------------------------------------------------------------


def test_lpips_is_of_colour_images_that_are_large_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network(nn.Module):
        def __init__(self, net_type: str, normalize: bool) -> None:
            super().__init__()
            assert (net_type, normalize) == ("alex", True)

        def forward(self, one: Tensor, two: Tensor) -> Tensor:
            assert one.shape == two.shape == (1, 3, 64, 64) and one.min() >= 0 and one.max() <= 1
            return (one - two).abs().mean()

    module(monkeypatch, "torchvision")
    module(monkeypatch, "torchmetrics.image.lpip", LearnedPerceptualImagePatchSimilarity=Network)
    apart = only("lpips")
    dark, light = torch.zeros(2, 1, 16, 16), torch.tensor([0.25, 0.5]).reshape(2, 1, 1, 1).expand(2, 1, 16, 16)
    rows = apart.rows(light, dark, WORDS)
    assert rows.tolist() == pytest.approx([0.25, 0.5]) and apart.value(rows, rows) == pytest.approx(0.375)
    frames = torch.stack([light, dark], dim=1)
    assert apart.rows(frames, torch.zeros_like(frames), WORDS).tolist() == pytest.approx([0.125, 0.25])


def test_fid_is_the_distance_of_features_of_eight_bit_images(monkeypatch: pytest.MonkeyPatch) -> None:
    class Inception(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            assert images.dtype == torch.uint8 and images.shape[1:] == (3, 16, 16)
            return images.flatten(1)[:, :2].double()

    class Distance:
        def __init__(self, feature: int, normalize: bool) -> None:
            assert (feature, normalize) == (2048, True)
            self.inception = Inception()

    module(monkeypatch, "torch_fidelity")
    module(monkeypatch, "torchmetrics.image.fid", FrechetInceptionDistance=Distance)
    far = only("fid")
    one = far.rows(clip(), clip(), WORDS)
    assert one.shape == (6, 2)
    assert far.value(one, one) == pytest.approx(0, abs=1e-6) and far.value(one + 3, one) == pytest.approx(18)


def test_clip_score_is_of_every_frame_and_its_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fits(nn.Module):
        def __init__(self, model_name_or_path: str) -> None:
            super().__init__()
            assert model_name_or_path == "openai/clip-vit-large-patch14"

        def forward(self, image: Tensor, words: str) -> Tensor:
            assert image.dtype == torch.uint8 and image.shape == (3, 16, 16)
            return torch.tensor(float(len(words)))

    module(monkeypatch, "torchmetrics.multimodal", CLIPScore=Fits)
    fits = only("clip")
    assert fits.rows(clip(), clip(), WORDS).tolist() == [9.0, 5.0]
    assert fits.rows(clip()[:, 0], clip()[:, 0], WORDS).tolist() == [9.0, 5.0]
    with pytest.raises(padecast.InvalidOption, match="compares images with prompts"):
        fits.rows(clip(), clip(), [3, 7])


def test_image_reward_is_of_pictures_and_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    class Network:
        def score(self, words: str, picture: Any) -> float:
            assert picture.size == (16, 16) and picture.mode == "RGB"
            return -float(len(words))

    def load(name: str, device: str) -> Network:
        assert (name, device) == ("ImageReward-v1.0", str(networks.device()))
        return Network()

    module(monkeypatch, "ImageReward", load=load)
    assert only("image-reward").rows(clip(), clip(), WORDS).tolist() == [-9.0, -5.0]


def test_vbench_is_given_clips_and_its_results_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[list[str]] = []

    class VBench:
        def __init__(self, device: Any, information: str, folder: str) -> None:
            assert information.endswith("VBench_full_info.json")
            self.folder = Path(folder)

        def evaluate(self, clips: str, name: str, dimension_list: list[str], mode: str) -> None:
            assert mode == "custom_input"
            files = sorted(Path(clips).iterdir(), reverse=True)
            rows = [{"video_path": str(file), "video_results": float(file.read_text())} for file in files]
            (self.folder / f"{name}_eval_results.json").write_text(json.dumps({dimension_list[0]: [0.5, rows]}))

    def export(frames: list[Any], path: str, fps: int) -> None:
        assert len(frames) == 3 and frames[0].shape == (16, 16, 3) and fps == networks.RATE
        Path(path).write_text(str(float(frames[0].mean())))

    class Fetching:
        init_submodules = staticmethod(fetched.append)

    module(monkeypatch, "vbench", VBench=VBench, utils=Fetching, __file__="/somewhere/vbench/__init__.py")
    module(monkeypatch, "imageio_ffmpeg")
    monkeypatch.setattr("diffusers.utils.export_to_video", export)
    smooth = only("vbench-motion-smoothness")
    assert fetched == [["motion_smoothness"]]
    assert smooth.rows(clip(), clip(), WORDS).tolist() == pytest.approx(clip()[:, 0].flatten(1).mean(1).tolist())
    with pytest.raises(padecast.InvalidOption, match="VBench judges clips"):
        smooth.rows(clip()[:, 0], clip()[:, 0], WORDS)


def test_a_network_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[str] = []

    def load(name: str, device: str) -> None:
        loads.append(name)

    module(monkeypatch, "ImageReward", load=load)
    assert metrics_of(["image-reward"]) == metrics_of(["image-reward"]) and len(loads) == 1


# What is missing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "package", "remedy"),
    [
        ("lpips", "torchvision", "padecast-lab[metrics]"),
        ("fid", "torch_fidelity", "padecast-lab[metrics]"),
        ("clip", "transformers", "padecast-lab[metrics]"),
        ("image-reward", "ImageReward", "pip install image-reward"),
        ("vbench-imaging-quality", "vbench", "pip install vbench"),
    ],
)
def test_a_missing_package_is_named_with_the_command(
    name: str, package: str, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(padecast.MissingPackage, match=package) as caught:
        metrics_of([name])
    assert METRICS[name].column in str(caught.value) and remedy in str(caught.value)


def test_weights_that_cannot_be_had_are_named_with_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str, device: str) -> None:
        raise OSError("no route to host\nand more")

    module(monkeypatch, "ImageReward", load=load)
    with pytest.raises(padecast.MissingWeights, match="OSError: no route to host") as caught:
        metrics_of(["image-reward"])
    assert "~/.cache/ImageReward" in str(caught.value) and "and more" not in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_an_unknown_metric_is_named() -> None:
    with pytest.raises(padecast.UnknownName, match="the nearest is 'lpips'"):
        check_metrics(["lpip"])
    assert metrics_of([]) == {}
