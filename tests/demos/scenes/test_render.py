"""Pictures: the right colour at the right place, smooth edges, and independence of their mates."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from demos.scenes.layout import GAP, LATTICE, MARGIN, Arrangement, arrange
from demos.scenes.render import render
from padecast.zoo.scenes.appearance import GROUND, PALETTE, SIZE, paleness, pixels
from padecast.zoo.scenes.grammar import COLOURS, GROUNDS, SHAPES, Scene, parse
from padecast.zoo.scenes.shapes import AREAS, REACH, distance


@pytest.fixture(scope="module")
def arranged(scenes: list[Scene]) -> Arrangement:
    return arrange(scenes, torch.Generator().manual_seed(12))


def seeded(caption: str, seed: int = 0) -> tuple[Arrangement, torch.Tensor]:
    arranged = arrange([parse(caption)], torch.Generator().manual_seed(seed))
    return arranged, render(arranged)[0]


# layout


def test_objects_lie_inside_and_apart(arranged: Arrangement) -> None:
    reach = (arranged.radius * REACH)[..., None]
    assert ((arranged.centre - reach >= MARGIN - 1e-3) | ~arranged.present[..., None]).all()
    assert ((arranged.centre + reach <= SIZE - MARGIN + 1e-3) | ~arranged.present[..., None]).all()
    pairs = arranged.present[:, 1]
    apart = (arranged.centre[:, 0] - arranged.centre[:, 1]).norm(dim=1) - reach.sum((1, 2))
    assert apart[pairs].min() >= GAP - 1e-3


@pytest.mark.parametrize(("relation", "axis", "sign"), [("left of", 0, -1), ("right of", 0, 1), ("above", 1, -1)])
def test_relations_hold_clearly(
    scenes: list[Scene], arranged: Arrangement, relation: str, axis: int, sign: int
) -> None:
    chosen = torch.tensor([scene.relation == relation for scene in scenes])
    along = (arranged.centre[:, 0] - arranged.centre[:, 1])[chosen]
    assert (along[:, axis] * sign > 0).all()
    assert (along[:, 1 - axis].abs() <= along[:, axis].abs() / 2).all()


def test_objects_stand_on_a_lattice(arranged: Arrangement) -> None:
    assert not (arranged.centre % LATTICE).any()


def test_positions_cover_the_picture(scenes: list[Scene], arranged: Arrangement) -> None:
    assert arranged.centre[:, 0].unique(dim=0).tolist() == [[x, y] for x in (16, 32, 48) for y in (16, 32, 48)]


# shapes


@pytest.mark.parametrize("shape", SHAPES)
def test_areas_and_reach(shape: str) -> None:
    steps = torch.linspace(-1.5, 1.5, 601)
    points = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1)
    inside = distance(shape, points) < 0
    assert float(inside.sum()) * 0.005**2 == pytest.approx(AREAS[shape], rel=0.02)
    assert points[inside].norm(dim=-1).max() <= REACH


@pytest.mark.parametrize("shape", SHAPES)
def test_distance_grows_with_slope_one(shape: str) -> None:
    points = torch.randn(512, 2, generator=torch.Generator().manual_seed(0)).requires_grad_()
    distance(shape, points).sum().backward()
    assert points.grad is not None
    torch.testing.assert_close(points.grad.norm(dim=-1), torch.ones(512), atol=1e-3, rtol=0)


# pixels


@pytest.mark.parametrize("colour", COLOURS)
def test_the_right_colour_is_at_the_centre(colour: str) -> None:
    arranged, image = seeded(f"a large {colour} circle on a black background")
    x, y = arranged.centre[0, 0].long().tolist()
    torch.testing.assert_close(image[:, y, x], PALETTE[COLOURS.index(colour)], atol=0.05, rtol=0)


@pytest.mark.parametrize("colour", GROUNDS)
def test_the_right_colour_is_behind(colour: str) -> None:
    _, image = seeded(f"a small red circle on a {colour} background")
    torch.testing.assert_close(image[:, 0].mean(1), GROUND[GROUNDS.index(colour)], atol=0.01, rtol=0)


def test_edges_are_smooth() -> None:
    _, image = seeded("a large yellow circle on a black background")
    between = ((image[0] > 0.15) & (image[0] < 0.85)).sum()
    assert 30 < between < 120  # about one pixel along a circumference of 73


def test_a_second_tone_shows_in_about_the_right_share() -> None:
    generator = torch.Generator().manual_seed(0)
    for texture, share in (("plain", 0.0), ("striped", 0.5), ("checked", 0.5), ("dotted", 0.28)):
        pale = paleness(texture, pixels(), torch.rand(2, generator=generator))
        assert pale.min() >= 0 and pale.max() <= 1
        assert float(pale.mean()) == pytest.approx(share, abs=0.03)


def test_gradients_and_clouds_vary_and_plain_grounds_do_not() -> None:
    spread = {}
    for style in ("", "gradient ", "cloudy "):
        arranged, _ = seeded(f"a small red circle on a {style}dark blue background")
        image = render(replace(arranged, present=torch.zeros_like(arranged.present)))
        spread[style] = float(torch.nn.functional.avg_pool2d(image[0, :1], 8).std())
    assert spread[""] < 0.005 < 0.02 < min(spread["gradient "], spread["cloudy "])


def test_a_picture_does_not_depend_on_its_mates(arranged: Arrangement) -> None:
    together = render(arranged[:8])
    for index in range(8):
        torch.testing.assert_close(render(arranged[index : index + 1])[0], together[index])


def test_pictures_are_seeded_and_in_range(arranged: Arrangement, pictures: torch.Tensor) -> None:
    assert pictures.shape == (256, 3, SIZE, SIZE) and pictures.min() >= 0 and pictures.max() <= 1
    torch.testing.assert_close(render(arranged[:4]), pictures[:4])
