"""Sheets of what demo models draw, as files."""

from __future__ import annotations

from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from padecast import files

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

LETTERS, LINE, EDGE = 11, 14, 6
"""Pixels: of the letters of a caption, from one of its lines to the next, and left and right of it."""
AMISS = "#c03a00"


def break_lines(text: str, width: int) -> list[str]:
    """Break a caption into lines that fit into so many pixels.

    Example:
        >>> break_lines("a small blue star", 70)
        ['a small blue', 'star']
    """
    font, lines = _font(), [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        lines[-1:] = [longer] if font.getlength(longer) <= width or not lines[-1] else [lines[-1], word]
    return lines


def write_caption(pen: ImageDraw, place: tuple[int, int], text: str, width: int, *, obeyed: bool) -> None:
    """Write a caption under a picture; one that was not obeyed says so, and is red.

    Args:
        pen: Draws on the sheet.
        place: The upper left corner of the picture's lower margin.
        text: The caption.
        width: Of the picture, in pixels.
        obeyed: Whether the picture shows all of it.
    """
    x, y = place
    lines = break_lines(text if obeyed else f"not obeyed: {text}", width - EDGE)
    for row, line in enumerate(lines):
        pen.text((x, y + 4 + LINE * row), line, fill="#222222" if obeyed else AMISS, font=_font())


@cache
def _font() -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size=LETTERS)


def write_picture(picture: Image, path: Path) -> Path:
    """Write a picture in the format that the file's name ends in, PNG by default; it is whole or as it was before."""
    from PIL import Image

    with BytesIO() as file:
        picture.save(file, format=Image.registered_extensions().get(path.suffix.lower(), "PNG"))
        return files.write(path, file.getvalue())
