"""What throwaway heads are asked: the right object at the right token."""

from __future__ import annotations

import torch

from demos.scenes.labels import SAID, said, shown
from demos.scenes.layout import arrange
from padecast.zoo.scenes.grammar import COLOURS, SHAPES, Scene, parse
from padecast.zoo.scenes.watcher import SHOWN

PAIR = parse("a large red circle left of a small checked blue square on a cloudy grey background")


def test_a_caption_in_numbers() -> None:
    facts = said([PAIR, parse("a red circle")])
    assert facts.tolist() == [[1, 1, 3, 1, 2, 6, 1, 4, 1, 2, 3], [1, 1, 2, 1, 0, 0, 0, 0, 0, 0, 0]]
    assert (facts < torch.tensor(SAID)).all()


def test_tokens_of_an_object_are_around_its_centre() -> None:
    arranged = arrange([PAIR], torch.Generator().manual_seed(0))
    facts = shown([PAIR], arranged)[0].unflatten(0, (8, 8))
    (x, y), (other_x, other_y) = (arranged.centre[0] // 8).long().tolist()
    large = facts[y - 2 : y + 2, x - 2 : x + 2]
    assert large[..., 0].bool().tolist() == [
        [False, True, True, False],
        [True] * 4,
        [True] * 4,
        [False, True, True, False],
    ]
    assert large[1, :, 4].tolist() == [1, 2, 3, 4] and large[:, 1, 5].tolist() == [1, 2, 3, 4]
    small = facts[other_y - 1 : other_y + 1, other_x - 1 : other_x + 1]
    assert (small[..., 1] == COLOURS.index("blue") + 1).all() and small[..., 4].tolist() == [[2, 3], [2, 3]]
    assert int((facts[..., 0] > 0).sum()) == 12 + 4


def test_labels_are_within_their_answers_and_of_the_caption(scenes: list[Scene]) -> None:
    facts = shown(scenes, arrange(scenes, torch.Generator().manual_seed(1)))
    assert (facts >= 0).all() and (facts < torch.tensor(SHOWN)).all()
    for scene, tokens in zip(scenes, facts, strict=True):
        named = {SHAPES.index(thing.shape) + 1 for thing in scene.things}
        assert set(tokens[:, 0].tolist()) == named | {0}
