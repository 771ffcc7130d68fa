"""Saving and loading pipelines without progress bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import diffusers
import transformers


@contextmanager
def without_bars() -> Iterator[None]:
    """Switch off the progress bars of saving and loading, and put back what was set."""
    libraries = (diffusers.utils.logging, transformers.utils.logging)
    drawing = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in drawing:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in drawing:
            library.enable_progress_bar()
