"""The network of FID-scenes: it reads unseen scenes, its distance grows with what is lost, and its training repeats."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from demos.scenes.train_watcher import QUESTIONS, examples, right, smoothed, train
from padecast.lab.scores import Distance, scores_of
from padecast.zoo.scenes.watcher import SHOWN, SceneWatcher, load_watcher


def test_the_shipped_network_says_what_unseen_scenes_show() -> None:
    images, facts = examples(32, torch.Generator().manual_seed(5), held_out=True)
    shares = dict(zip(QUESTIONS, right(load_watcher()(images), facts).tolist(), strict=True))
    style = shares.pop("style")  # of tokens; where a cloud is even, it looks plain
    assert min(shares.values()) > 0.93 and style > 0.6, (shares, style)


@pytest.mark.slow
def test_the_distance_grows_with_what_is_lost(pictures: Tensor) -> None:
    distance = scores_of(object(), scores="scenes")["FID-scenes"]
    assert isinstance(distance, Distance)
    whole = distance.rows(pictures, pictures, [])
    found = [
        distance.value(distance.rows(smoothed(pictures, torch.full((len(pictures),), share)), pictures, []), whole)
        for share in (0.0, 0.5, 1.0)
    ]
    assert abs(found[0]) < 1e-4 and found[0] + 1e-3 < found[1] < found[2]


def test_smoothing_keeps_flat_pictures_and_blends() -> None:
    flat = torch.full((2, 3, 64, 64), 0.3)
    torch.testing.assert_close(smoothed(flat, torch.tensor([0.5, 1.0])), flat)
    noise = torch.rand(2, 3, 64, 64)
    assert torch.equal(smoothed(noise, torch.zeros(2)), noise)
    assert smoothed(noise, torch.ones(2)).std() < noise.std() / 2


def test_right_counts_tokens_of_each_question() -> None:
    facts = torch.zeros(1, 64, len(SHOWN), dtype=torch.int64)
    logits = torch.zeros(1, 64, sum(SHOWN))
    logits[..., 0] = 1  # the first answer to the first question; all others are ties, which the first answer wins
    assert right(logits, facts).tolist() == [1.0] * len(SHOWN)
    facts[:, :16, 0] = 1
    assert right(logits, facts).tolist() == [0.75] + [1.0] * (len(SHOWN) - 1)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_training_repeats_and_states_what_it_saved(tmp_path: Path, steps: int) -> None:
    stated = [train(tmp_path / name, steps=steps, quiet=True) for name in ("one", "two")]
    assert stated[0] == stated[1] and stated[0]["parameters"] == sum(w.numel() for w in SceneWatcher().parameters())
    assert (tmp_path / "one" / "watcher.safetensors").read_bytes() == (
        tmp_path / "two" / "watcher.safetensors"
    ).read_bytes()
