"""What was measured, as plain data that goes to JSON and back out of tables and plots."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from padecast.calibration.provenance import Provenance
from padecast.lab import display
from padecast.lab.metrics import Spread
from padecast.lessons.display import count
from padecast.report import finite

SCHEMA = 1
TIMES = ("seconds", "denoiser_seconds", "speedup", "denoiser_speedup")


@dataclass(frozen=True)
class Result:
    """One method on one task.

    Args:
        name: The method as it was asked for, or ``"uncached"`` or ``"fewer-steps"``.
        written: The method with the option that was tuned; what to write to repeat it.
        wanted: Computed steps that it was tuned to; ``None`` if it ran as written.
        nfe: Computed steps of a run, mean over batches (decisions are shared within a batch).
        ideal: Speedup if a forecast cost nothing: uncached steps / ``nfe``.
        plans: One string per batch, ``C`` computed and ``.`` forecast; ``c`` where a peer computed some branches.
        psnr: In dB against the uncached images of the same seeds.
        ssim: Against the same.
        seconds: Of one whole call with a full batch, median of ``calls_timed``.
        denoiser_seconds: Of all denoiser calls in it, median.
        speedup: Median seconds of the uncached calls made in turn with these, over ``seconds``.
        denoiser_speedup: The same of the denoiser alone.
        calls_timed: How many calls were timed; if none was, times and speedups are NaN, and ``null`` in JSON.
        seconds_range: The fastest and the slowest of them; far apart, the machine was busy with something else.
        errors: Relative error of the latents after every step, mean over samples. Fewer steps are other steps: only the
            last is there.
        history_bytes: Memory of the remembered residuals, as declared in the report.
        peak_bytes: Most memory that torch held on a CUDA device during a call; ``None`` on the host.
        flops_share: Operations of the denoiser over those of the uncached run; no speedup. ``None`` if not counted.
        scores: What else the task's images are judged by, by name; of a distance such as FID-digits, that to the
            uncached images of the same seeds, of which less is better.
        teaching: How many images, of other seeds, were drawn before to teach a method that learns.
    """

    name: str
    written: str
    wanted: float | None
    nfe: float
    ideal: float
    plans: tuple[str, ...]
    psnr: Spread
    ssim: Spread
    seconds: float
    denoiser_seconds: float
    speedup: float
    denoiser_speedup: float
    calls_timed: int
    seconds_range: tuple[float, float]
    errors: tuple[float, ...] = ()
    history_bytes: int = 0
    peak_bytes: int | None = None
    flops_share: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    teaching: int = 0

    @property
    def efficiency(self) -> float:
        """Share of the ideal speedup that was reached, of the whole call."""
        return self.speedup / self.ideal

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists."""
        return {**dataclasses.asdict(self), "efficiency": self.efficiency}

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Result:
        """Read what :meth:`to_dict` wrote.

        Raises:
            KeyError: If something is missing.
        """
        values = {field.name: document[field.name] for field in dataclasses.fields(cls) if field.name in document}
        values = {name: _number(value) if name in TIMES else value for name, value in values.items()}
        spreads = {name: _spread(values[name]) for name in ("psnr", "ssim")}
        scores = {name: _number(value) for name, value in values.get("scores", {}).items()}
        tuples = {name: tuple(map(_number, values[name])) for name in ("plans", "seconds_range", "errors")}
        return cls(**{**values, **spreads, **tuples, "scores": scores})


def _spread(values: dict[str, Any]) -> Spread:
    return Spread(values["mean"], values["p5"], values["worst"], tuple(values.get("each", ())))


def _number(value: Any) -> Any:
    """Read back what JSON has no number for."""
    return math.nan if value is None else value


@dataclass(frozen=True)
class Refusal:
    """A peer that could not be put on a task's pipeline, or a method that it taught nothing.

    Args:
        name: As it was asked for.
        wanted: Computed steps that it was to be tuned to.
        why: What it, or padecast for it, said.
    """

    name: str
    wanted: float | None
    why: str

    @classmethod
    def of(cls, entry: Any) -> Refusal:
        """Return the row of an entry that was refused."""
        return cls(entry.name, entry.wanted, entry.refusal)


@dataclass(frozen=True)
class Comparison:
    """Methods on one task, the uncached run first.

    Printed it is a table, and in a notebook too; :meth:`to_markdown` and :meth:`to_latex` write the same table.

    Args:
        settings: What was sampled: pipeline, steps, seeds, batch and so on.
        results: One per method and number of computed steps.
        provenance: Where the numbers come from.
        images: The images by place in ``results``, ``(B, C, H, W)``; not in the JSON.
        refusals: Peers that could not be put on the pipeline, and why.

    Example:
        >>> from padecast import lab, zoo
        >>> from padecast.hooks.quiet import quiet
        >>> pipe = zoo.load("digits")
        >>> with quiet(pipe):
        ...     table = lab.compare(lab.Task(pipe, lab.Sampling(), steps=4, seeds=[0], name="digits"), ["fora:every=2"])
        >>> table
        <Comparison 'digits': 3 rows, 4 steps, 1 seed>
        >>> print(table.to_markdown()[:57])
        **digits: 4 steps, 1 seed**
        <BLANKLINE>
        | method | NFE | PSNR | p5 |
    """

    settings: dict[str, Any]
    results: tuple[Result, ...]
    provenance: Provenance
    images: tuple[Tensor, ...] = field(default=(), repr=False, compare=False)
    refusals: tuple[Refusal, ...] = ()

    def at(self, nfe: int) -> Comparison:
        """Return the uncached run and what was tuned to so many computed steps."""
        places = [place for place, result in enumerate(self.results) if place == 0 or result.wanted == nfe]
        images = tuple(self.images[place] for place in places if place < len(self.images))
        refusals = tuple(refusal for refusal in self.refusals if refusal.wanted == nfe)
        results = tuple(self.results[place] for place in places)
        return dataclasses.replace(self, results=results, images=images, refusals=refusals)

    def to_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists; a number that is not finite becomes ``None``."""
        plain: dict[str, Any] = finite(
            {
                "kind": "padecast comparison",
                "schema": SCHEMA,
                "settings": self.settings,
                "results": [result.to_dict() for result in self.results],
                "refusals": [dataclasses.asdict(refusal) for refusal in self.refusals],
                "provenance": dataclasses.asdict(self.provenance),
            }
        )
        return plain

    def to_json(self, indent: int | None = 2) -> str:
        """Return :meth:`to_dict` as JSON."""
        return json.dumps(self.to_dict(), indent=indent, allow_nan=False)

    def to_markdown(self) -> str:
        """Return the table in Markdown."""
        return display.write_markdown(self)

    def to_latex(self) -> str:
        """Return the table as a LaTeX ``tabular``; it needs no package."""
        return display.write_latex(self)

    def plot(self, path: str | Path) -> Path:
        """Draw mean PSNR over computed steps, a line per method, into a PNG.

        Images and plans are drawn by :func:`padecast.lab.figures.grid` and :func:`padecast.lab.figures.steps`.

        Returns:
            The path.

        Raises:
            MissingPackage: If matplotlib is not installed.
        """
        from padecast.lab.trends import tradeoff  # pictures are drawn from results

        return tradeoff(self.results, Path(path), title=display.write_title(self))

    def __repr__(self) -> str:
        _, _, size = display.write_title(self).rpartition(": ")
        return f"<Comparison {self.settings['name']!r}: {count(len(self.results), 'row')}, {size}>"

    def __str__(self) -> str:
        return display.describe(self)

    def _repr_html_(self) -> str:
        return display.write_html(self)
