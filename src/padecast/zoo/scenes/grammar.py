"""What a scene may hold, and the captions that say it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from padecast._errors import unknown

SHAPES = ("circle", "square", "triangle", "star", "ring", "cross")
COLOURS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
SIZES = ("small", "medium", "large")
TEXTURES = ("plain", "striped", "dotted", "checked")
RELATIONS = ("left of", "right of", "above", "below")
GROUNDS = ("black", "grey", "dark blue", "dark green", "dark red", "dark purple")
STYLES = ("plain", "gradient", "cloudy")

# What a caption leaves unsaid: an object of no stated size is a medium one, of no stated texture a plain one.
UNSAID = ("medium", "plain")
HELD_OUT = 10  # one combination in so many is kept from training
_MIRRORED = {"right of": "left of", "below": "above"}
_SURROUNDINGS = re.compile(rf"^(.*?)(?: on an? (?:({'|'.join(STYLES[1:])}) )?({'|'.join(GROUNDS)}) background)?$")


@dataclass(frozen=True)
class Thing:
    """One object.

    Args:
        shape: one of ``SHAPES``.
        colour: one of ``COLOURS``.
        size: one of ``SIZES``; default "medium", which a caption leaves out.
        texture: one of ``TEXTURES``; default "plain", which a caption leaves out.

    Example:
        >>> str(Thing("square", "orange", texture="striped"))
        'a striped orange square'
    """

    shape: str
    colour: str
    size: str = "medium"
    texture: str = "plain"

    def __str__(self) -> str:
        words = [word for word in (self.size, self.texture, self.colour, self.shape) if word not in UNSAID]
        return f"{_article(words[0])} {' '.join(words)}"


@dataclass(frozen=True)
class Background:
    """What is behind the objects.

    Args:
        colour: one of ``GROUNDS``.
        style: one of ``STYLES``; default "plain", which a caption leaves out.
    """

    colour: str
    style: str = "plain"

    def __str__(self) -> str:
        words = [word for word in (self.style, self.colour) if word not in UNSAID]
        return f"on a {' '.join(words)} background"


@dataclass(frozen=True)
class Scene:
    """What a picture shows, as far as its caption says it.

    Args:
        things: one object, or two.
        relation: one of ``RELATIONS``, where the first object is as seen from the second; None for one object.
        background: None if the caption does not say, so that any will do.

    Example:
        >>> pair = (Thing("circle", "red", "large"), Thing("square", "blue", "small"))
        >>> Scene(pair, "left of").caption
        'a large red circle left of a small blue square'
    """

    things: tuple[Thing, ...]
    relation: str | None = None
    background: Background | None = None

    @property
    def caption(self) -> str:
        """The scene in words; ``parse`` reads it back."""
        said = f" {self.relation} ".join(str(thing) for thing in self.things)
        return said if self.background is None else f"{said} {self.background}"

    @property
    def held_out(self) -> bool:
        """Whether training never sees these colours and shapes in this relation, in any size or texture.

        A hash of the combination decides, alike for "A left of B" and "B right of A".
        """
        named = [f"{thing.colour} {thing.shape}" for thing in self.things]
        relation = self.relation or ""
        if relation in _MIRRORED:
            relation, named = _MIRRORED[relation], named[::-1]
        digest = hashlib.blake2b(f" {relation} ".join(named).encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") % HELD_OUT == 0


def draw(generator: torch.Generator, *, held_out: bool = False) -> Scene:
    """A random scene: two objects in three of five, a stated background as often, half of the objects plain.

    Args:
        generator: source of randomness, on the CPU.
        held_out: whether from the combinations kept from training, default False.

    Returns:
        The scene; its two objects differ in shape or colour.
    """
    while True:
        first, second = _thing(generator), _thing(generator)
        pair = _chance(generator, 0.6)
        relation = _pick(RELATIONS, generator) if pair else None
        ground = Background(_pick(GROUNDS, generator), _pick(STYLES, generator))
        scene = Scene((first, second) if pair else (first,), relation, ground if _chance(generator, 0.6) else None)
        alike = pair and (first.shape, first.colour) == (second.shape, second.colour)
        if scene.held_out == held_out and not alike:
            return scene


def parse(caption: str) -> Scene:
    """Read a caption of the grammar; adjectives may come in any order, letters be of any case.

    Args:
        caption: such as "a large striped red circle left of a small blue square on a dark blue background".

    Returns:
        The scene that it asks for.

    Raises:
        UnknownName: a word is not in the grammar; the message names the nearest.
        ValueError: the words are known, but their order is not.

    Example:
        >>> parse("a striped red circle on a cloudy grey background").background
        Background(colour='grey', style='cloudy')
    """
    text = " ".join(caption.lower().strip(" .").split())
    for word in text.split():
        if word not in words():
            raise unknown("word of a caption", word, words())
    match = _SURROUNDINGS.match(text)
    said, style, ground = match.groups() if match else (text, None, None)
    background = Background(ground, style or "plain") if ground else None
    for relation in RELATIONS:
        first, found, second = said.partition(f" {relation} ")
        if found:
            return Scene((_read(first, caption), _read(second, caption)), relation, background)
    return Scene((_read(said, caption),), None, background)


def words() -> tuple[str, ...]:
    """Every word that a caption may hold, in the order of the alphabet."""
    phrases = [*SHAPES, *COLOURS, *SIZES, *TEXTURES, *RELATIONS, *GROUNDS, *STYLES, "a an on background"]
    return tuple(sorted({word for phrase in phrases for word in phrase.split()} - set(UNSAID)))


def _read(phrase: str, caption: str) -> Thing:
    """One object from its phrase."""
    article, *described = phrase.split() or [""]
    found = {kind: [word for word in described if word in known] for kind, known in _KINDS.items()}
    once = all(len(said) <= 1 for said in found.values()) and found["shape"] and found["colour"]
    ordered = sum(map(len, found.values())) == len(described) and described[-1:] == found["shape"]
    if article not in ("a", "an") or not once or not ordered:
        raise ValueError(
            f"{phrase!r} in the caption {caption!r} does not describe one object.\n"
            "An object has a colour and a shape, and may have a size and a texture before them. Try:\n"
            f"    {Thing('circle', 'red', 'large', 'striped')} left of {Thing('square', 'blue', 'small')}"
        )
    return Thing(**{kind: said[0] for kind, said in found.items() if said})


_KINDS = {"shape": SHAPES, "colour": COLOURS, "size": SIZES, "texture": TEXTURES}


def _thing(generator: torch.Generator) -> Thing:
    shape, colour, size = (_pick(known, generator) for known in (SHAPES, COLOURS, SIZES))
    texture = _pick(TEXTURES[1:], generator) if _chance(generator, 0.5) else "plain"
    return Thing(shape, colour, size, texture)


def _pick(known: Sequence[str], generator: torch.Generator) -> str:
    return known[int(torch.randint(len(known), (), generator=generator))]


def _chance(generator: torch.Generator, share: float) -> bool:
    return bool(torch.rand((), generator=generator) < share)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"
