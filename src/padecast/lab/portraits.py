"""Pictures of single samples step by step: their trajectories, and how features of different steps resemble."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from padecast.lab._canvas import COLOURS, INK, Place, figure_of, label, plain, styles_of, write
from padecast.lab._canvas import title as write_title

PANELS, PANEL = 3, 3.6  # samples shown at most, and inches of one


def trajectories(portraits: Sequence[dict[str, Any]], path: Place, *, named: Sequence[str] = ()) -> Place:
    """Draw the latents' way through the plane of their two principal components, a panel per sample.

    Args:
        portraits: What :func:`padecast.lab.portrait.portrait` recorded, the uncached run among them.
        path: Where to write the PNG.
        named: Methods in the order in which they are given colours; by default that of the portraits.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    paths = {p["name"]: finite_until(p["path"]) for p in portraits}
    uncached = paths.pop("uncached")
    named_as = {name: label(name) + _lost(steps) for name, steps in paths.items()}
    samples = min(uncached.shape[1], PANELS)
    styles = styles_of([*named, *paths])
    width, height = 0.5 + (PANEL + 0.35) * samples + 2.4, PANEL + 1.3
    figure = figure_of((width, height))
    for sample in range(samples):
        left = 0.5 + (PANEL + 0.35) * sample
        axis = figure.add_axes((left / width, 0.55 / height, PANEL / width, PANEL / height))
        plane, middle = components(uncached[:, sample])
        _way(axis, uncached[:, sample], plane, middle, color="#BBBBBB", linewidth=5, label="uncached")
        for name, steps in paths.items():
            colour, marker = styles[name]
            _way(axis, steps[:, sample], plane, middle, color=colour, marker=marker, linewidth=1, label=named_as[name])
        plain(axis, "1st component", "2nd component" if sample == 0 else "")
        axis.set_title(f"seed {portraits[0]['seeds'][sample]}", fontsize=10, color=INK)
        axis.tick_params(labelbottom=False, labelleft=False, length=0)
    place = {"loc": "upper left", "bbox_to_anchor": (1.03, 1.0), "borderaxespad": 0.0}
    axis.legend(**place, fontsize=8.5, frameon=False, labelcolor=INK)
    write_title(figure, "Latents after every step, in the plane of the uncached run's principal components")
    return write(figure, path)


def similarity(cosines: dict[str, Any], path: Place) -> Place:
    """Draw the cosine of features over the steps between them: what the stack adds, and what it returns.

    Args:
        cosines: What :func:`padecast.lab.portrait.cosines` returned.
        path: Where to write the PNG.

    Returns:
        The path.

    Raises:
        MissingPackage: If matplotlib is not installed.
    """
    figure = figure_of((7.4, 4.2))
    axis = figure.add_axes((0.09, 0.13, 0.87, 0.74))
    words = {"residuals": "residuals: what the stack adds", "outputs": "raw features: what it returns"}
    for (name, meaning), colour in zip(words.items(), COLOURS, strict=False):
        matrix = _numbers(cosines[name]).nan_to_num(0.0)
        rows = [matrix.diagonal(distance) for distance in range(1, len(matrix))]
        across = list(range(1, len(matrix)))
        axis.fill_between(
            across,
            [float(r.min()) for r in rows],
            [float(r.max()) for r in rows],
            color=colour,
            alpha=0.13,
            linewidth=0,
        )
        axis.plot(across, [float(r.mean()) for r in rows], "o-", color=colour, markersize=4, label=meaning)
    plain(axis, "steps between them", "cosine")
    axis.legend(loc="lower left", fontsize=9, frameon=False, labelcolor=INK)
    write_title(figure, "How features of different steps resemble: mean, lowest and highest pair")
    return write(figure, path)


def components(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two principal directions ``(m, 2)`` of points ``(n, m)`` that are finite, and their mean ``(m,)``.

    Example:
        >>> plane, middle = components(torch.tensor([[0.0, 0.0, 1.0], [4.0, 0.0, 1.0], [2.0, 1.0, 1.0]]))
        >>> plane.abs().round().tolist()
        [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    """
    finite = points[points.isfinite().all(1)]
    if not len(finite):
        return torch.eye(points.shape[1], 2, dtype=points.dtype), torch.zeros_like(points[0])
    middle = finite.mean(0)
    _, _, directions = torch.linalg.svd(finite - middle, full_matrices=False)
    plane = torch.zeros(2, points.shape[1], dtype=points.dtype)  # one point has no direction
    plane[: len(directions[:2])] = directions[:2]
    return plane.T, middle


def finite_until(path: Sequence[Any]) -> Tensor:
    """Return latents ``(steps, seeds, m)`` of a portrait; all that follows on one that is not finite is NaN.

    Example:
        >>> finite_until([[[1.0, 2.0]], [[None, 2.0]], [[3.0, 4.0]]])[:, 0, 1].tolist()
        [2.0, nan, nan]
    """
    points = _numbers(path)
    lost = (~points.isfinite().all(-1)).cumsum(0) > 0
    return points.masked_fill(lost[..., None], torch.nan)


def _numbers(nested: Sequence[Any]) -> Tensor:
    """Return nested lists as a tensor, with NaN for what JSON has no number for."""

    def read(value: Any) -> Any:
        return [read(part) for part in value] if isinstance(value, list) else torch.nan if value is None else value

    return torch.tensor(read(list(nested)), dtype=torch.float64)


def _lost(path: Tensor) -> str:
    """Say after which step latents are not finite, for the legend."""
    whole = int(path.isfinite().flatten(1).all(1).sum())
    return "" if whole == len(path) else f" (not finite after step {whole})"


def _way(axis: Any, points: Tensor, plane: Tensor, middle: Tensor, **style: Any) -> None:
    flat = (points - middle) @ plane
    axis.plot(flat[:, 0].tolist(), flat[:, 1].tolist(), markersize=3.5, **style)
