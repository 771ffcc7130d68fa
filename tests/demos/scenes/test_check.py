"""The measure of obedience: right on what is drawn, and not to be fooled by anything else."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from demos.pictures import EDGE, write_caption
from demos.scenes.check import save_sheet, shares
from padecast.zoo.scenes.grammar import Scene, parse
from padecast.zoo.scenes.judge import obeyed, relation
from padecast.zoo.scenes.read import read, split

Draw = Callable[..., Tensor]


@pytest.mark.slow
def test_drawn_scenes_obey_their_captions(scenes: list[Scene], pictures: Tensor) -> None:
    found = shares(scenes[:48], pictures[:48])
    assert set(found) == {"count", "shape", "colour", "size", "texture", "relation", "background", "all"}
    assert found["all"] >= 0.99
    noise = torch.randn(pictures[:16].shape, generator=torch.Generator().manual_seed(0))
    assert shares(scenes[:16], (pictures[:16] + 0.03 * noise).clamp(0, 1))["all"] >= 0.97


TRUE = "a large striped red circle left of a small blue square on a dark green background"


@pytest.mark.parametrize(
    ("wrong", "kinds"),
    [
        ("a large striped red square left of a small blue square on a dark green background", {"shape"}),
        ("a large striped red circle left of a small blue star on a dark green background", {"shape"}),
        ("a large striped pink circle left of a small blue square on a dark green background", {"colour"}),
        ("a large striped orange circle left of a small blue square on a dark green background", {"colour"}),
        ("a large striped red circle left of a small purple square on a dark green background", {"colour"}),
        ("a striped red circle left of a small blue square on a dark green background", {"size"}),
        ("a large striped red circle left of a blue square on a dark green background", {"size"}),
        ("a large red circle left of a small blue square on a dark green background", {"texture"}),
        ("a large dotted red circle left of a small blue square on a dark green background", {"texture"}),
        ("a large checked red circle left of a small blue square on a dark green background", {"texture"}),
        ("a large striped red circle left of a small checked blue square on a dark green background", {"texture"}),
        ("a large striped red circle right of a small blue square on a dark green background", {"relation"}),
        ("a large striped red circle above a small blue square on a dark green background", {"relation"}),
        ("a large striped red circle left of a small blue square on a dark blue background", {"background"}),
        ("a large striped red circle left of a small blue square on a black background", {"background"}),
        ("a large striped red circle left of a small blue square on a cloudy dark green background", {"background"}),
        ("a large striped red circle left of a small blue square on a gradient dark green background", {"background"}),
        (
            "a large striped red circle on a dark green background",
            {"count", "shape", "colour", "size", "texture", "relation"},
        ),
    ],
)
def test_every_kind_of_wrong_attribute_is_noticed(drawn: Draw, wrong: str, kinds: set[str]) -> None:
    for reading in read(drawn(wrong)):
        found = obeyed(parse(TRUE), reading)
        assert {kind for kind, right in found.items() if not right} == {*kinds, "all"}


def test_attributes_of_two_objects_do_not_swap(drawn: Draw) -> None:
    scene = parse("a red circle left of a blue square")
    for reading in read(drawn("a blue circle left of a red square")):
        found = obeyed(scene, reading)
        assert not found["all"] and (not found["colour"] or not found["shape"])


@pytest.mark.parametrize("caption", ["a small red circle", "a large checked yellow star"])
def test_one_object_is_not_two_nor_none(drawn: Draw, caption: str) -> None:
    assert {len(reading.things) for reading in read(drawn(caption))} == {1}
    assert not obeyed(parse(caption), read(torch.full((1, 3, 64, 64), 0.1))[0])["all"]


def test_a_stray_blob_counts(drawn: Draw) -> None:
    images = drawn("a red circle on a black background")
    images[:, :, 1:4, 1:4] = 0.9
    assert {len(reading.things) for reading in read(images)} == {2}


def test_what_is_no_shape_colour_or_texture_is_none(drawn: Draw) -> None:
    images = torch.full((3, 3, 64, 64), 0.05)
    images[0, :, 20:40, 28:33] = torch.tensor([0.9, 0.18, 0.18]).view(3, 1, 1)  # a red bar
    images[1, :, 20:40, 20:40] = torch.tensor([0.75, 0.95, 0.4]).view(3, 1, 1)  # a lime square
    half = images[2, :, 20:40, 20:40]
    half[0], half[1:, :10] = 0.9, 0.83  # a square, red below and pale above
    half[1:, 10:] = 0.18
    bar, lime, split_square = (reading.things[0] for reading in read(images))
    assert bar.shape is None and bar.colour == "red"
    assert lime.shape == "square" and lime.colour is None
    assert split_square.shape == "square" and split_square.texture is None


def test_noise_obeys_nothing(scenes: list[Scene]) -> None:
    noise = torch.rand(16, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert shares(scenes[:16], noise)["all"] == 0


def test_connected_regions() -> None:
    mask = torch.zeros(2, 16, 16, dtype=torch.bool)
    mask[0, 2:6, 2:6] = mask[0, 6:9, 6:9] = True  # they touch at a corner
    mask[1, 0:4, 0:4] = mask[1, 10:14, 0:9] = mask[1, 15, 15] = True  # the last is too small
    regions, owner = split(mask)
    assert owner.tolist() == [0, 1, 1]
    assert sorted(int(region.sum()) for region in regions) == [16, 25, 36]


@pytest.mark.parametrize(
    ("first", "said"), [((10, 30), "left of"), ((50, 33), "right of"), ((30, 10), "above"), ((33, 60), "below")]
)
def test_relation(first: tuple[float, float], said: str) -> None:
    assert relation(first, (30.0, 30.0)) == said


def test_sheet(scenes: list[Scene], pictures: Tensor, tmp_path: Path) -> None:
    """Captions stand beside one another with a gap, and none is as long as to reach the next row."""
    save_sheet(scenes[:9], pictures[:9], tmp_path / "sheet.png", columns=4, zoom=2)
    with Image.open(tmp_path / "sheet.png") as sheet:
        high, dark = sheet.height // 3, np.asarray(sheet.convert("L")) < 128
        assert sheet.width == 4 * (128 + 2 * EDGE) and sheet.height == 3 * high
        for column in range(4):
            edge = column * (128 + 2 * EDGE)
            assert not dark[:, edge : edge + EDGE].any()
        for row in range(3):
            assert not dark[(row + 1) * high - 4 : (row + 1) * high].any()


def test_a_caption_that_was_not_obeyed_says_so() -> None:
    shown: list[str] = []
    pen = types.SimpleNamespace(text=lambda place, line, **look: shown.append(line))
    for whole in (True, False):
        write_caption(pen, (0, 0), "a red ring", 128, obeyed=whole)  # type: ignore[arg-type]
    assert shown == ["a red ring", "not obeyed: a red ring"]
