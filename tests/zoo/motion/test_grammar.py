"""Captions: every clip is said and read back, and some combinations are never drawn for training."""

from __future__ import annotations

import pytest
import torch

from padecast._errors import UnknownName
from padecast.zoo.motion.grammar import (
    COLOURS,
    GROUNDS,
    MOVEMENTS,
    ROUND,
    SHAPES,
    SIZES,
    STYLES,
    Background,
    Clip,
    draw,
    parse,
    words,
)


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    generator = torch.Generator().manual_seed(11)
    return [draw(generator) for _ in range(96)]


def test_every_drawn_clip_is_read_back_from_its_caption(clips: list[Clip]) -> None:
    assert [parse(clip.caption) for clip in clips] == clips


def test_drawn_clips_use_the_whole_grammar(clips: list[Clip]) -> None:
    for kind, known in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES), ("movement", MOVEMENTS)):
        assert {getattr(clip, kind) for clip in clips} == set(known)
    grounds = [clip.background for clip in clips if clip.background]
    assert {ground.colour for ground in grounds} == set(GROUNDS) and {ground.style for ground in grounds} == set(STYLES)
    assert 0.6 < len(grounds) / len(clips) < 0.9
    assert not any(clip.movement == "turning" and clip.shape in ROUND for clip in clips)


def test_drawing_is_seeded() -> None:
    first, second, other = (draw(torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert first == second != other


@pytest.mark.parametrize(
    ("caption", "clip"),
    [
        ("A small cyan ring growing.", Clip("ring", "cyan", "small", "growing")),
        (
            "a large red star moving left on a gradient dark blue background",
            Clip("star", "red", "large", "moving left", Background("dark blue", "gradient")),
        ),
        (
            "a small pink square turning on a grey background",
            Clip("square", "pink", "small", "turning", Background("grey")),
        ),
    ],
)
def test_captions(caption: str, clip: Clip) -> None:
    assert parse(caption) == clip


def test_an_unknown_word_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'growin'; the nearest is 'growing'"):
        parse("a small red circle growin")


@pytest.mark.parametrize("caption", ["", "a red circle", "a small red circle", "a red small circle growing"])
def test_words_out_of_order_are_refused_with_an_example(caption: str) -> None:
    with pytest.raises(ValueError, match="Try:\n    a large red star moving left"):
        parse(caption)


def test_a_turning_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="looks the same turned"):
        parse("a small red circle turning")


def test_words_are_those_of_captions(clips: list[Clip]) -> None:
    assert {word for clip in clips for word in clip.caption.split()} <= set(words())


def test_held_out_combinations_are_a_tenth_and_never_drawn(clips: list[Clip]) -> None:
    assert not any(clip.held_out for clip in clips)
    generator = torch.Generator().manual_seed(0)
    assert all(draw(generator, held_out=True).held_out for _ in range(20))
    every = [Clip(shape, colour, "small", movement) for shape in SHAPES for colour in COLOURS for movement in MOVEMENTS]
    assert 0.05 < sum(clip.held_out for clip in every) / len(every) < 0.15
    for kind, known in (("shape", SHAPES), ("colour", COLOURS), ("movement", MOVEMENTS)):
        assert {getattr(clip, kind) for clip in every if clip.held_out} == set(known)
