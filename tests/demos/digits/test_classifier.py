"""The reader of digits: what ships with the package, and how it is trained."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from demos.digits import train_classifier
from demos.digits.data import load_scans
from padecast.zoo.classifier import FEATURES, WEIGHTS, DigitClassifier, load_classifier


def test_shapes_and_size() -> None:
    classifier = DigitClassifier().eval()
    images = torch.rand(3, 1, 16, 16)
    assert classifier(images).shape == (3, 10)
    assert classifier.features(images).shape == (3, FEATURES)
    assert sum(weight.numel() for weight in classifier.parameters()) < 500_000


def test_shipped_classifier_is_as_accurate_as_stated() -> None:
    facts = json.loads(WEIGHTS.with_suffix(".json").read_text())
    scans, labels = load_scans()
    _, held = train_classifier.split(labels, facts["seed"])
    measured = train_classifier.accuracy(load_classifier(), scans[held], labels[held])
    assert len(held) == facts["held_out_images"]
    assert measured >= 0.985
    assert abs(measured - facts["held_out_accuracy"]) < 0.5 / len(held)  # not one image differs


def test_loaded_classifier_only_evaluates() -> None:
    classifier = load_classifier()
    assert not classifier.training
    assert {weight.dtype for weight in classifier.parameters()} == {torch.float32}
    assert not any(weight.requires_grad for weight in classifier.parameters())


def test_split_holds_out_a_fifth_of_every_class() -> None:
    _, labels = load_scans()
    learn, held = train_classifier.split(labels, seed=0)
    assert set(learn.tolist()).isdisjoint(held.tolist())
    assert len(learn) + len(held) == len(labels)
    assert (torch.bincount(labels[held]) == torch.bincount(labels) // 5).all()


def test_training_is_seeded_and_written_in_float16(tmp_path: Path) -> None:
    scans, labels = load_scans()
    first, second = (train_classifier.fit(scans[:128], labels[:128], epochs=1, seed=3) for _ in range(2))
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name])
    loaded = load_classifier(train_classifier.write(first, tmp_path))
    assert torch.equal(loaded.read.weight, first.read.weight.half().float())
