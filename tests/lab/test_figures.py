"""Pictures are written, whatever is compared."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image

from padecast.lab import Comparison, Task, compare, figures


@pytest.fixture(scope="module")
def compared(task: Task) -> Comparison:
    """Tests leave it as it is."""
    return compare(task, ["fora", "adaptive"], nfe=[4])


def test_a_grid_has_a_row_per_method(compared: Comparison, tmp_path: Path) -> None:
    path = figures.grid(compared, tmp_path / "grid.png", columns=3, title="three samples")
    fewer_rows = figures.grid(
        dataclasses.replace(compared, results=compared.results[:2], images=compared.images[:2]), tmp_path / "two.png"
    )
    with Image.open(path) as all_rows, Image.open(fewer_rows) as two:
        assert all_rows.format == "PNG" and all_rows.height > 1.5 * two.height


@pytest.mark.parametrize("shape", [(4, 3, 16, 24), (4, 5, 3, 16, 16)])
def test_colour_images_and_clips_are_drawn(compared: Comparison, tmp_path: Path, shape: tuple[int, ...]) -> None:
    images = tuple(torch.rand(shape) for _ in compared.images)
    images[1][0] = float("nan")
    assert figures.grid(dataclasses.replace(compared, images=images), tmp_path / "grid.png").stat().st_size > 1000


def test_steps_of_several_tasks_stand_side_by_side(compared: Comparison, tmp_path: Path) -> None:
    one = figures.steps([compared], tmp_path / "one.png")
    two = figures.steps([compared, compared], tmp_path / "two.png", title="twice")
    with Image.open(one) as alone, Image.open(two) as both:
        assert both.width > 1.4 * alone.width and both.height == alone.height


def test_methods_without_any_error_are_drawn(task: Task, tmp_path: Path) -> None:
    exact = compare(task, ["none"])
    assert figures.steps([exact], tmp_path / "exact.png").is_file()
    pathless = dataclasses.replace(exact, results=tuple(dataclasses.replace(r, errors=()) for r in exact.results))
    assert figures.steps([pathless], tmp_path / "pathless.png").is_file()
