"""What a caption says and what a token shows, as numbers: what throwaway heads are asked during training.

Training shows the model not only pictures, but also what they are of. The text encoders learn from it what a caption
says before they are used; the transformer, which tokens belong to which object.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from demos.scenes.layout import Arrangement
from padecast.zoo.scenes.appearance import SIZE
from padecast.zoo.scenes.grammar import COLOURS, GROUNDS, RELATIONS, SHAPES, SIZES, STYLES, TEXTURES, Scene, Thing
from padecast.zoo.scenes.watcher import ACROSS

_OF_A_THING = (SHAPES, COLOURS, SIZES, TEXTURES)
# Number 0 is "none": no such object, no such relation, a background left unsaid.
SAID = tuple(len(known) + 1 for known in (*_OF_A_THING, *_OF_A_THING, RELATIONS, GROUNDS, STYLES))
CELL = 8  # pixels along the side of what one token shows
AROUND = 3.0  # pixels between an object's circle and the middle of a token that still shows some of it


def said(scenes: Sequence[Scene]) -> Tensor:
    """What captions say.

    Args:
        scenes: B of them.

    Returns:
        (B, 11) int64: shape, colour, size and texture of the first object, the same of the second, relation, colour
        and style of the background; ``SAID`` has the number of answers to each.
    """
    return torch.tensor([_said(scene) for scene in scenes])


def _said(scene: Scene) -> list[int]:
    things = [_numbers(thing) for thing in scene.things] + [[0] * len(_OF_A_THING)] * (2 - len(scene.things))
    relation = RELATIONS.index(scene.relation) + 1 if scene.relation else 0
    ground = scene.background
    behind = [GROUNDS.index(ground.colour) + 1, STYLES.index(ground.style) + 1] if ground else [0, 0]
    return [*things[0], *things[1], relation, *behind]


def _numbers(thing: Thing) -> list[int]:
    words = (thing.shape, thing.colour, thing.size, thing.texture)
    return [known.index(word) + 1 for known, word in zip(_OF_A_THING, words, strict=True)]


def shown(scenes: Sequence[Scene], arranged: Arrangement) -> Tensor:
    """What each token of a picture shows: the object whose circle reaches the middle of its 8 x 8 pixels, or nearly.

    Args:
        scenes: B of them.
        arranged: where their objects are.

    Returns:
        (B, 64, 8) int64: shape, colour, size and texture of the object, which column and row of the object it is,
        colour and style of the background; ``SHOWN`` has the number of answers to each, and 0 of an object is "none".
    """
    facts = said(scenes)[:, :8].unflatten(1, (2, 4))
    steps = torch.arange(SIZE // CELL) * CELL + CELL / 2
    middles = torch.stack(torch.meshgrid(steps, steps, indexing="xy"), -1).flatten(0, 1)
    aside = middles - arranged.centre[:, :, None]  # (B, 2, 64, 2)
    apart = aside.norm(dim=3).masked_fill(~arranged.present[:, :, None], torch.inf)
    inside = (apart < arranged.radius[:, :, None] + AROUND) & (apart < apart.flip(1))  # of both, that which is nearer
    part = (aside / CELL + ACROSS / 2 + 0.5).round().long()  # 1 to 4 from left to right, and from above
    things = (torch.cat([facts[:, :, None].expand(-1, -1, len(middles), -1), part], 3) * inside[..., None]).sum(1)
    behind = torch.stack([arranged.ground, arranged.style], 1)[:, None].expand(-1, len(middles), 2)
    return torch.cat([things, behind], 2)


def head(width: int, answers: Sequence[int]) -> nn.Linear:
    """A layer from features to the logits of all answers to all questions; it starts at zero."""
    layer = nn.Linear(width, sum(answers))
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def wrongness(logits: Tensor, facts: Tensor, answers: Sequence[int], weights: Tensor | None = None) -> Tensor:
    """Cross entropy, averaged over the questions.

    Args:
        logits: (..., sum of ``answers``).
        facts: (..., len of ``answers``) int64.
        answers: how many there are to each question.
        weights: (...), how much each row counts; default: all alike.

    Returns:
        A scalar.

    Example:
        >>> float(wrongness(torch.zeros(1, 4), torch.zeros(1, 2, dtype=torch.int64), (2, 2)))  # log 2
        0.6931...
    """
    losses = []
    for some, fact in zip(logits.split(list(answers), -1), facts.unbind(-1), strict=True):
        wrong = F.cross_entropy(some.flatten(0, -2), fact.flatten(), reduction="none")
        losses.append(wrong.mean() if weights is None else (wrong * weights.flatten()).sum() / weights.sum())
    return torch.stack(losses).mean()
