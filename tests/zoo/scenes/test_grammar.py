"""Captions: every scene is said and read back, and some combinations are never drawn for training."""

from __future__ import annotations

import pytest
import torch

from padecast._errors import UnknownName
from padecast.zoo.scenes.grammar import (
    COLOURS,
    GROUNDS,
    RELATIONS,
    SHAPES,
    SIZES,
    STYLES,
    TEXTURES,
    Background,
    Scene,
    Thing,
    draw,
    parse,
    words,
)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    generator = torch.Generator().manual_seed(11)
    return [draw(generator) for _ in range(256)]


def test_every_drawn_scene_is_read_back_from_its_caption(scenes: list[Scene]) -> None:
    assert [parse(scene.caption) for scene in scenes] == scenes


def test_drawn_scenes_use_the_whole_grammar(scenes: list[Scene]) -> None:
    things = [thing for scene in scenes for thing in scene.things]
    grounds = [scene.background for scene in scenes if scene.background]
    for kind, known in (("shape", SHAPES), ("colour", COLOURS), ("size", SIZES), ("texture", TEXTURES)):
        assert {getattr(thing, kind) for thing in things} == set(known)
    assert {ground.colour for ground in grounds} == set(GROUNDS) and {ground.style for ground in grounds} == set(STYLES)
    assert {scene.relation for scene in scenes} == {None, *RELATIONS}
    assert 0.3 < len(grounds) / len(scenes) < 0.9
    assert 0.3 < sum(len(scene.things) == 2 for scene in scenes) / len(scenes) < 0.9


def test_two_objects_of_a_drawn_scene_differ(scenes: list[Scene]) -> None:
    pairs = [scene.things for scene in scenes if len(scene.things) == 2]
    assert all((first.shape, first.colour) != (second.shape, second.colour) for first, second in pairs)


def test_drawing_is_seeded() -> None:
    first, second, other = (draw(torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert first == second != other


@pytest.mark.parametrize(
    ("caption", "scene"),
    [
        (
            "a large red circle left of a small blue square",
            Scene((Thing("circle", "red", "large"), Thing("square", "blue", "small")), "left of"),
        ),
        ("An Orange star.", Scene((Thing("star", "orange"),))),
        ("a blue small striped ring", Scene((Thing("ring", "blue", "small", "striped"),))),
        (
            "a red cross on a cloudy dark blue background",
            Scene((Thing("cross", "red"),), None, Background("dark blue", "cloudy")),
        ),
        ("a red cross on a grey background", Scene((Thing("cross", "red"),), None, Background("grey"))),
    ],
)
def test_captions(caption: str, scene: Scene) -> None:
    assert parse(caption) == scene


def test_an_unknown_word_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="'cirle'; the nearest is 'circle'"):
        parse("a red cirle")


@pytest.mark.parametrize(
    "caption",
    [
        "",
        "a red",
        "a circle",
        "red circle",
        "a circle red",
        "a red blue circle",
        "a red circle left of",
        "a red circle on",
    ],
)
def test_words_out_of_order_are_named(caption: str) -> None:
    with pytest.raises(ValueError, match="does not describe one object"):
        parse(caption)


def test_words_are_those_of_captions(scenes: list[Scene]) -> None:
    assert {word for scene in scenes for word in scene.caption.split()} == set(words())


def test_held_out_combinations_are_a_tenth_and_never_drawn(scenes: list[Scene]) -> None:
    assert not any(scene.held_out for scene in scenes)
    generator = torch.Generator().manual_seed(0)
    unseen = [draw(generator, held_out=True) for _ in range(20)]
    assert all(scene.held_out for scene in unseen)
    pairs = [
        Scene((Thing(a, b), Thing(c, d)), relation).held_out
        for a in SHAPES
        for b in COLOURS
        for c in SHAPES
        for d in COLOURS
        for relation in RELATIONS[:1]
    ]
    assert 0.07 < sum(pairs) / len(pairs) < 0.13


def test_held_out_does_not_depend_on_how_it_is_said() -> None:
    generator = torch.Generator().manual_seed(1)
    turned = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    for scene in (draw(generator, held_out=True) for _ in range(30)):
        plain = tuple(Thing(thing.shape, thing.colour) for thing in scene.things)
        assert Scene(plain, scene.relation).held_out
        if scene.relation:
            assert Scene(plain[::-1], turned[scene.relation]).held_out
