"""What images are judged by: per sample, beside the uncached image, and by distances of features."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor

import padecast
from padecast.lab import Entry, Sampling, Task, fid_digits, measure, scores
from padecast.lab.cells import Cell
from padecast.lab.experiment import Setting, Source
from padecast.lab.scores import Distance, Judged, Likeness, scores_of
from padecast.zoo.digits import DigitsPipeline


def brightness(images: Tensor, asked: Any) -> Tensor:
    return images.flatten(1).mean(1) + torch.tensor(asked)


def test_scores_are_of_all_samples_and_distances_of_the_same_seeds(task: Task) -> None:
    judged = {
        "bright": Judged(brightness),
        "apart": Likeness(lambda images, reference: (images - reference).abs().flatten(1).mean(1)),
        "far": Distance(lambda images: images.flatten(1)[:, ::60]),
    }
    uncached, own = measure(dataclasses.replace(task, scores=judged), [Entry.of("fora")]).results
    assert list(own.scores) == ["bright", "apart", "far"]
    assert uncached.scores["apart"] == 0 and uncached.scores["far"] == pytest.approx(0, abs=1e-9)
    assert own.scores["apart"] > 0 and own.scores["far"] > 0
    assert 1.5 < own.scores["bright"] <= 2.5  # classes 0 to 3, and up to 1


def test_the_digits_are_read_and_their_distance_is_fid_digits(pipe: DigitsPipeline) -> None:
    task = Task(pipe, Sampling(), steps=6, seeds=range(5), batch=2, scores=scores_of(pipe))
    compared = measure(task, [Entry.of("fora")])
    images = compared.images
    assert compared.results[0].scores["FID-digits"] == pytest.approx(0, abs=1e-4)
    assert compared.results[1].scores["FID-digits"] == pytest.approx(fid_digits(images[1], images[0]), rel=1e-4)
    assert 0 <= compared.results[1].scores["digit read"] <= 1


def test_what_was_asked_is_the_class_the_prompt_or_the_seed(pipe: DigitsPipeline) -> None:
    assert Task(pipe, Sampling(classes=(7, 8))).asked([3, 4]) == [8, 7]
    assert Task(pipe, lambda pipe, seeds, **_: torch.zeros(1)).asked([3, 4]) == [3, 4]


def test_a_model_is_known_by_its_class_its_source_or_by_name(pipe: DigitsPipeline) -> None:
    assert list(scores_of(pipe)) == list(scores_of(object(), "digits")) == ["digit read", "FID-digits"]
    assert scores_of(object(), "some/folder") == {}
    assert list(scores_of(object(), "some/folder", "scenes")) == ["caption obeyed", "FID-scenes"]
    with pytest.raises(padecast.UnknownName, match="the nearest is 'scenes'"):
        scores_of(object(), "", "scene")


def test_a_model_registers_its_own(pipe: DigitsPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scores, "_MODELS", dict(scores._MODELS))
    scores.register("moths", lambda: {"bright": Judged(brightness)})
    source = Source("m", "a/folder", scores="moths")
    cell = Cell("measure", source, Setting("plain", steps=4), "fora", None, (0, 1), (7, 8), 2)
    assert list(cell.task(pipe).scores) == ["bright"]


def test_captions_are_read_from_pictures() -> None:
    from demos.scenes.render import picture
    from padecast.zoo.scenes.grammar import draw

    generator = torch.Generator().manual_seed(0)
    scene = draw(generator)
    image = picture([scene], generator)
    obeyed = scores_of(object(), "scenes")["caption obeyed"]
    assert obeyed.rows(image, image, [scene.caption]).tolist() == [1.0]
    assert obeyed.rows(torch.zeros(1, 3, 64, 64), image, [scene.caption]).tolist() == [0.0]


def test_captions_are_read_from_clips() -> None:
    from demos.motion.render import film
    from padecast.zoo.motion.grammar import draw

    generator = torch.Generator().manual_seed(0)
    shown, other = draw(generator), draw(generator)
    clips = film([shown, other], generator).transpose(1, 2)
    obeyed, distance = scores_of(object(), "motion").values()
    assert obeyed.rows(clips, clips, [shown.caption, other.caption]).tolist() == [1.0, 1.0]
    assert obeyed.rows(clips, clips, [other.caption, shown.caption]).tolist() == [0.0, 0.0]
    features = distance.rows(clips, clips, [])
    assert features.shape == (2, 128) and torch.allclose(features, distance.rows(clips.clone(), clips, []))
    backwards = distance.rows(clips.flip(1), clips, [])
    torch.testing.assert_close(backwards[:, :64], features[:, :64])
    assert (backwards[:, 64:] - features[:, 64:]).norm() > 0.01
