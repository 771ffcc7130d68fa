"""Sheets of what demo models draw, as files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from padecast import files

if TYPE_CHECKING:
    from PIL.Image import Image


def write_picture(picture: Image, path: Path) -> Path:
    """Write a picture in the format that the file's name ends in, PNG by default; it is whole or as it was before."""
    from PIL import Image

    with BytesIO() as file:
        picture.save(file, format=Image.registered_extensions().get(path.suffix.lower(), "PNG"))
        return files.write(path, file.getvalue())
