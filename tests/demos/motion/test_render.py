"""Clips: objects move as they are told, inside the picture, in their colour, and independent of their mates."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from demos.closeup import CUTTING
from demos.motion.clips import LATENT, closeups
from demos.motion.course import LATTICE, Course, plot
from demos.motion.render import cover, render
from demos.scenes.layout import MARGIN
from padecast.zoo.motion.appearance import BEHIND, COLOUR, FRAMES, GROWTH, TRAVEL, TURN
from padecast.zoo.motion.grammar import COLOURS, GROUNDS, Clip, parse
from padecast.zoo.scenes.appearance import SIZE
from padecast.zoo.scenes.shapes import REACH


@pytest.fixture(scope="module")
def course(clips: list[Clip]) -> Course:
    return plot(clips[:32], torch.Generator().manual_seed(12))


def one(caption: str) -> Course:
    return plot([parse(caption)], torch.Generator().manual_seed(0))


def test_objects_stay_inside(course: Course) -> None:
    reach = (course.radius * REACH)[..., None]
    assert (course.centre - reach).min() >= MARGIN - 1e-3
    assert (course.centre + reach).max() <= SIZE - MARGIN + 1e-3


def test_objects_are_on_a_lattice_halfway(course: Course) -> None:
    torch.testing.assert_close(course.centre[:, FRAMES // 2] % LATTICE, torch.zeros(len(course), 2))
    assert len(course.centre[:, FRAMES // 2].unique(dim=0)) > 4


@pytest.mark.parametrize(("movement", "way"), [("left", (-1, 0)), ("right", (1, 0)), ("up", (0, -1)), ("down", (0, 1))])
def test_moving(movement: str, way: tuple[int, int]) -> None:
    course = one(f"a small red star moving {movement}")
    steps = course.centre[0].diff(dim=0)
    torch.testing.assert_close(steps, torch.tensor(way).expand_as(steps) * TRAVEL / (FRAMES - 1))
    assert max(course.radius.std(), course.angle.std()) < 1e-6


def test_growing_shrinking_and_turning() -> None:
    for movement, ratio in (("growing", (1 + GROWTH) / (1 - GROWTH)), ("shrinking", (1 - GROWTH) / (1 + GROWTH))):
        course = one(f"a small red star {movement}")
        assert float(course.radius[0, -1] / course.radius[0, 0]) == pytest.approx(ratio)
        assert float(course.centre.std(1).max()) == pytest.approx(0, abs=1e-5)
    turning = one("a small red star turning")
    assert float(turning.angle[0, -1] - turning.angle[0, 0]) == pytest.approx(TURN)


def test_colours() -> None:
    for colour, ground in ((c, g) for c in COLOURS for g in GROUNDS):
        course = one(f"a large {colour} circle growing on a {ground} background")
        frames, (x, y) = render(course)[0], course.centre[0, 0].long().tolist()
        torch.testing.assert_close(frames[:, :, y, x], COLOUR[COLOURS.index(colour), :, None].expand(3, FRAMES))
        torch.testing.assert_close(frames[:, 0, 0, 0], BEHIND[GROUNDS.index(ground)])


def test_cover_is_anti_aliased(course: Course) -> None:
    covered = cover(course[:16])
    partly = ((covered > 0) & (covered < 1)).flatten(2).sum(2)
    assert covered.shape == (16, FRAMES, SIZE, SIZE) and (partly > 8).all()


def test_a_clip_does_not_depend_on_its_mates(course: Course) -> None:
    together = render(course[:4])
    for index in range(4):
        torch.testing.assert_close(render(course[index : index + 1])[0], together[index])


def test_part_of_a_clip_is_these_frames(course: Course, filmed: Tensor) -> None:
    for start in (0, 7, FRAMES - 5):
        torch.testing.assert_close(render(course[:4].part(start, 5)), filmed[:4, :, start : start + 5])


def test_close_ups_show_their_object_at_any_time(monkeypatch: pytest.MonkeyPatch) -> None:
    plotted: list[Course] = []

    def noted(drawn: list[Clip], generator: torch.Generator) -> Course:
        plotted.append(plot(drawn, generator))
        return plotted[-1]

    monkeypatch.setattr("demos.motion.clips.plot", noted)
    starts = set()
    for seed in range(6):
        pixels, covered = closeups(4, torch.Generator().manual_seed(seed), torch.device("cpu"), 5)
        assert pixels.shape == (4, 3, 5, CUTTING, CUTTING) and covered.shape == (4, 5, CUTTING, CUTTING)
        assert (covered.flatten(2).amax(2) > 0.99).all()
        whole = render(plotted[-1]) * 2 - 1
        grid = range(0, SIZE - CUTTING + 1, LATENT)
        places = [
            (start, y, x)
            for start, y, x in product(range(FRAMES - 4), grid, grid)
            if torch.equal(whole[0, :, start : start + 5, y : y + CUTTING, x : x + CUTTING], pixels[0])
        ]
        assert places  # cut where whole latents are
        starts |= {start for start, _, _ in places}
    assert len(starts) > 1


def test_clips_are_seeded_and_in_range(filmed: Tensor) -> None:
    assert filmed.shape == (32, 3, FRAMES, SIZE, SIZE) and filmed.min() >= 0 and filmed.max() <= 1
