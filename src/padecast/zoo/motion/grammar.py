"""What a clip may show, and the captions that say it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from padecast._errors import unknown
from padecast.zoo.scenes.grammar import HELD_OUT, Background

SHAPES = ("circle", "square", "triangle", "star", "ring")
COLOURS = ("red", "yellow", "green", "cyan", "blue", "pink")
SIZES = ("small", "large")
MOVEMENTS = ("moving left", "moving right", "moving up", "moving down", "growing", "shrinking", "turning")
GROUNDS = ("black", "grey", "dark blue", "dark green")
STYLES = ("plain", "gradient")

ROUND = ("circle", "ring")  # shapes that do not show that they turn
STATED = 0.75  # share of captions that say the background
_CAPTION = re.compile(
    rf"an? ({'|'.join(SIZES)}) ({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) ({'|'.join(MOVEMENTS)})"
    rf"(?: on an? (?:({STYLES[1]}) )?({'|'.join(GROUNDS)}) background)?"
)


@dataclass(frozen=True)
class Clip:
    """What a clip shows, as far as its caption says it.

    Args:
        shape: one of ``SHAPES``.
        colour: one of ``COLOURS``.
        size: one of ``SIZES``; of an object that grows or shrinks, its size halfway.
        movement: one of ``MOVEMENTS``; circles and rings cannot be seen "turning".
        background: None if the caption does not say, so that any will do.

    Example:
        >>> Clip("star", "red", "large", "moving left", Background("dark blue", "gradient")).caption
        'a large red star moving left on a gradient dark blue background'
    """

    shape: str
    colour: str
    size: str
    movement: str
    background: Background | None = None

    @property
    def caption(self) -> str:
        """The clip in words; ``parse`` reads it back."""
        said = f"a {self.size} {self.colour} {self.shape} {self.movement}"
        return said if self.background is None else f"{said} {self.background}"

    @property
    def held_out(self) -> bool:
        """Whether training never sees this shape in this colour move so, in any size, on any background."""
        named = f"{self.colour} {self.shape} {self.movement}"
        digest = hashlib.blake2b(named.encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") % HELD_OUT == 0


def draw(generator: torch.Generator, *, held_out: bool = False) -> Clip:
    """A random clip; three in four captions say the background.

    Args:
        generator: source of randomness, on the CPU.
        held_out: whether from the combinations kept from training, default False.
    """
    while True:
        shape, colour, size, movement, ground, style = (
            _pick(known, generator) for known in (SHAPES, COLOURS, SIZES, MOVEMENTS, GROUNDS, STYLES)
        )
        stated = bool(torch.rand((), generator=generator) < STATED)
        clip = Clip(shape, colour, size, movement, Background(ground, style) if stated else None)
        if clip.held_out == held_out and not (movement == "turning" and shape in ROUND):
            return clip


def parse(caption: str) -> Clip:
    """Read a caption of the grammar; letters may be of any case.

    Args:
        caption: such as "a large red star moving left on a gradient dark blue background".

    Returns:
        The clip that it asks for.

    Raises:
        UnknownName: a word is not in the grammar; the message names the nearest.
        ValueError: the words are known, but do not make a caption.

    Example:
        >>> parse("A small cyan ring growing.").movement
        'growing'
    """
    text = " ".join(caption.lower().strip(" .").split())
    for word in text.split():
        if word not in words():
            raise unknown("word of a caption", word, words())
    match = _CAPTION.fullmatch(text)
    if match is None:
        raise ValueError(
            f"the caption {caption!r} is no sentence of the grammar.\n"
            "It says size, colour, shape and movement in this order, and may end with the background. Try:\n"
            f"    {Clip('star', 'red', 'large', 'moving left', Background('dark blue', 'gradient')).caption}"
        )
    size, colour, shape, movement, style, ground = match.groups()
    if movement == "turning" and shape in ROUND:
        raise ValueError(f"the caption {caption!r} asks for what cannot be seen: a {shape} looks the same turned.")
    return Clip(shape, colour, size, movement, Background(ground, style or "plain") if ground else None)


def words() -> tuple[str, ...]:
    """Every word that a caption may hold, in the order of the alphabet."""
    phrases = [*SHAPES, *COLOURS, *SIZES, *MOVEMENTS, *GROUNDS, STYLES[1], "a an on background"]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()}))


def _pick(known: Sequence[str], generator: torch.Generator) -> str:
    return known[int(torch.randint(len(known), (), generator=generator))]
