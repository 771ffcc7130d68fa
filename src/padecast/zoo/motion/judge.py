"""Whether a clip obeys its caption."""

from __future__ import annotations

from padecast.zoo.motion.grammar import Clip
from padecast.zoo.motion.read import Reading

KINDS = ("count", "shape", "colour", "size", "movement", "background", "all")


def obeyed(clip: Clip, reading: Reading) -> dict[str, bool]:
    """Which of the things that a caption says are so in a clip.

    Args:
        clip: what the caption says.
        reading: what the clip shows.

    Returns:
        For each of ``KINDS`` that the caption speaks of, whether it is so; "all" is all of them.

    Example:
        >>> from padecast.zoo.motion.grammar import parse
        >>> seen = Reading(1, "star", "red", "small", "moving up", "black", "plain")
        >>> obeyed(parse("a small red star moving down"), seen)["movement"]
        False
    """
    said = {"count": reading.count == 1}
    said |= {kind: getattr(clip, kind) == getattr(reading, kind) for kind in ("shape", "colour", "size", "movement")}
    if clip.background:
        said["background"] = (clip.background.colour, clip.background.style) == (reading.ground, reading.style)
    return {**said, "all": all(said.values())}
