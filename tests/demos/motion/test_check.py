"""The measure of obedience: right on what is rendered, and not to be fooled by anything else."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from demos.motion.check import PICKED, save_sheet, shares
from demos.motion.render import film
from demos.pictures import EDGE, LINE
from padecast.zoo.motion.grammar import Clip, parse
from padecast.zoo.motion.judge import KINDS, obeyed
from padecast.zoo.motion.read import read

TRUE = "a large red star moving left on a dark green background"


def filmed_once(caption: str) -> Tensor:
    return film([parse(caption)], torch.Generator().manual_seed(13))


def wrong(seen: Tensor) -> set[str]:
    found = obeyed(parse(TRUE), read(seen)[0])
    return {kind for kind, right in found.items() if not right} - {"all"}


@pytest.mark.slow
def test_rendered_clips_obey_their_captions(clips: list[Clip], filmed: Tensor) -> None:
    found = shares(clips[:32], filmed)
    assert set(found) == set(KINDS) and found["all"] >= 0.99
    noise = torch.randn(filmed[:10].shape, generator=torch.Generator().manual_seed(0))
    assert shares(clips[:10], (filmed[:10] + 0.03 * noise).clamp(0, 1))["all"] >= 0.9


@pytest.mark.parametrize(
    ("caption", "kinds"),
    [
        ("a large red triangle moving left on a dark green background", {"shape"}),
        ("a large pink star moving left on a dark green background", {"colour"}),
        ("a small red star moving left on a dark green background", {"size"}),
        ("a large red star moving right on a dark green background", {"movement"}),
        ("a large red star moving up on a dark green background", {"movement"}),
        ("a large red star growing on a dark green background", {"movement"}),
        ("a large red star turning on a dark green background", {"movement"}),
        ("a large red star moving left on a gradient dark green background", {"background"}),
        ("a large red star moving left on a dark blue background", {"background"}),
    ],
)
def test_every_kind_of_wrong_attribute_is_noticed(caption: str, kinds: set[str]) -> None:
    assert wrong(filmed_once(caption)) == kinds


def test_stills_reversals_and_mixtures_are_no_movement() -> None:
    clip = filmed_once(TRUE)
    assert wrong(clip) == set()
    assert wrong(clip[:, :, :1].expand_as(clip)) == {"movement"}
    assert wrong(clip.flip(2)) == {"movement"}
    assert wrong(torch.cat([clip[:, :, ::2], clip[:, :, ::2].flip(2)[:, :, 1:]], 2)) == {"movement"}


def test_a_clip_without_object_or_with_two_obeys_nothing_said_of_it() -> None:
    clip = filmed_once(TRUE)
    empty = clip[:, :, :, :1, :1].expand_as(clip)
    assert wrong(empty) == {"count", "shape", "colour", "size", "movement"}
    twice = clip.clone()
    twice[:, :, 5, 1:5, 1:5] = 0.9  # in one frame only
    assert wrong(twice) == {"count", "shape", "colour", "size", "movement"}


def test_sheet(clips: list[Clip], filmed: Tensor, tmp_path: Path) -> None:
    save_sheet(clips[:3], filmed[:3], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        strip = (64 + 2) * len(PICKED) + 2 * EDGE
        assert sheet.width == 2 * strip and sheet.height % 2 == 0 and sheet.height // 2 > 64 + LINE
