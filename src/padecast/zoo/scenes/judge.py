"""Whether a picture obeys its caption."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations

from padecast.zoo.scenes.grammar import Scene
from padecast.zoo.scenes.read import Reading, Seen

KINDS = ("count", "shape", "colour", "size", "texture", "relation", "background", "all")


def obeyed(scene: Scene, reading: Reading) -> dict[str, bool]:
    """Which of the things that a caption says are so in a picture.

    Objects are paired with those of the caption such that most is right. With a wrong number of objects, nothing
    that is said of them is; an attribute is right if it is for all of them.

    Args:
        scene: what the caption says.
        reading: what the picture shows.

    Returns:
        For each of ``KINDS`` that the caption speaks of, whether it is so; "all" is all of them.

    Example:
        >>> from padecast.zoo.scenes.grammar import parse
        >>> scene = parse("a red circle")
        >>> obeyed(scene, Reading((Seen("circle", "blue", "medium", "plain", (32, 32)),), "black", "plain"))["colour"]
        False
    """
    if len(scene.things) == len(reading.things):
        found = max((_compared(scene, order) for order in permutations(reading.things)), key=lambda f: sum(f.values()))
        said = {"count": True, **found}
    else:
        said = {"count": False, **dict.fromkeys(("shape", "colour", "size", "texture"), False)}
        if scene.relation:
            said["relation"] = False
    if scene.background:
        said["background"] = (scene.background.colour, scene.background.style) == (reading.ground, reading.style)
    return {**said, "all": all(said.values())}


def _compared(scene: Scene, seen: Sequence[Seen]) -> dict[str, bool]:
    """What is said of the objects, with those of the picture in the caption's order."""
    found = {
        kind: all(getattr(thing, kind) == getattr(one, kind) for thing, one in zip(scene.things, seen, strict=True))
        for kind in ("shape", "colour", "size", "texture")
    }
    if scene.relation:
        found["relation"] = scene.relation == relation(seen[0].centre, seen[1].centre)
    return found


def relation(first: tuple[float, float], second: tuple[float, float]) -> str:
    """Where the first centre is as seen from the second, along the axis on which they are further apart."""
    x, y = first[0] - second[0], first[1] - second[1]
    if abs(x) > abs(y):
        return "left of" if x < 0 else "right of"
    return "above" if y < 0 else "below"
