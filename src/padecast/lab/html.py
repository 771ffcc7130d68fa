"""An experiment's results as one page that needs nothing else: tables, pictures, and a slider between images."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

from padecast import __version__
from padecast.files import line, visible
from padecast.lab import figures, peers, portraits, trends
from padecast.lab._canvas import DPI
from padecast.lab._extras import need
from padecast.lab.chapters import Chapter, chapters
from padecast.lab.display import misses
from padecast.lab.results import Comparison, Result
from padecast.methods import REGISTRY
from padecast.targets.base import HALVES

TEMPLATES = Path(__file__).parent / "templates"
BUSY = 1.5
"""Slowest over fastest uncached call, from which times are called rough."""
COLUMNS, AMPLIFIED = 8, 4.0
PRINTED = "tc-pade-published"
"""The method whose rows have a note: it is a reading of a paper."""


def page(documents: Iterable[dict[str, Any]], title: str = "", template: str = "report.html", **further: Any) -> str:
    """Return a page that shows finished cells.

    Everything in it comes from the cells, is escaped, and is embedded: it loads nothing.

    Args:
        documents: As :func:`padecast.lab.cells.run` returned them, or :meth:`padecast.lab.shelf.Shelf.documents` reads
            them.
        title: Of the page; what was sampled unless given.
        template: A file in ``templates``.
        further: What the template shows besides.

    Raises:
        MissingPackage: If jinja2 or matplotlib is not installed.
    """
    jinja = need("jinja2", "writing a report")
    environment = jinja.Environment(
        loader=jinja.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: visible(value) if type(value) is str else value,
    )
    book = chapters(documents)
    shown = [_chapter(chapter, place) for place, chapter in enumerate(book)]
    text: str = environment.get_template(template).render(
        title=title or _title(book),
        version=__version__,
        chapters=shown,
        provenances=_provenances(book),
        sliders={chapter["id"]: chapter["slider"] for chapter in shown if chapter["slider"]},
        **further,
    )
    return text


def _title(book: Sequence[Chapter]) -> str:
    """Return what was sampled, of few chapters."""
    names = [chapter.title for chapter in book]
    return "; ".join(names) if 0 < len(names) <= 3 else "padecast report"


def _chapter(chapter: Chapter, place: int) -> dict[str, Any]:
    compared = {nfe: chapter.comparison(nfe) for nfe in chapter.budgets}
    return {
        "id": f"chapter-{place}",
        "title": chapter.title,
        "about": _about(chapter),
        "tables": [_table(chapter, nfe, comparison) for nfe, comparison in compared.items()],
        "pictures": _pictures(chapter, compared),
        "slider": _slider(chapter),
    }


def _about(chapter: Chapter) -> list[tuple[str, str]]:
    settings = chapter.settings
    sampling = settings["sampling"] if isinstance(settings["sampling"], dict) else {}
    call = {name: value for name, value in sampling.items() if value not in (None, [], {}, ())}
    lines = {
        "pipeline": f"{settings['pipeline']}, {settings['model']}, {settings['scheduler']}, {settings['dtype']}",
        "steps": str(settings["steps"]),
        **{name: ", ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in call.items()},
        "seeds": f"{len(settings['seeds'])} measured, {len(settings['development'])} others tuned on, in calls of "
        f"{settings['batch']}",
        "device": str(settings["device"]),
    }
    return list(lines.items())


def _table(chapter: Chapter, nfe: int | None, comparison: Comparison | None) -> dict[str, Any]:
    results = comparison.results if comparison else ()
    scores = list(dict.fromkeys(name for result in results for name in result.scores))
    whole = [r for r in results if r.name != "uncached" and not misses(r) and not is_partial(r.name)]
    best = max(whole, key=lambda result: result.psnr.mean) if len(whole) > 1 else None
    busy = bool(results) and results[0].seconds_range[1] > BUSY * results[0].seconds_range[0]  # NaN: not timed
    return {
        "title": "as written" if nfe is None else f"{nfe} of {chapter.settings['steps']} steps computed",
        "scores": scores,
        "timed": any(result.calls_timed for result in results),
        "counted": any(result.flops_share is not None for result in results),
        "held": any(result.peak_bytes for result in results),
        "rows": [{**_row(result, scores), "best": result is best} for result in results],
        "printed": any(result.name.startswith(PRINTED) for result in results),
        "refusals": [refusal for refusal in chapter.refusals if refusal.wanted == nfe],
        "busy": results[0].seconds_range if busy else None,
    }


def _row(result: Result, scores: list[str]) -> dict[str, Any]:
    exact = result.name == "uncached"
    numbers = {
        "nfe": f"{result.nfe:.3g}",
        "psnr": [] if exact else [f"{value:.2f}" for value in (result.psnr.mean, result.psnr.p5, result.psnr.worst)],
        "ssim": "" if exact else f"{result.ssim.mean:.4f}",
        "scores": [f"{result.scores[name]:.3f}" if name in result.scores else "" for name in scores],
        "seconds": f"{result.seconds:.3g}" if result.calls_timed else "",
        "held": f"{result.peak_bytes / 2**30:.1f}" if result.peak_bytes else "",
        "wall": "" if exact or not result.calls_timed else f"{result.speedup:.2f}x",
        "denoiser": "" if exact or not result.calls_timed else f"{result.denoiser_speedup:.2f}x",
        "ideal": "" if exact else f"{result.ideal:.2f}x",
        "flops": "" if result.flops_share is None else f"{result.flops_share:.0%}",
    }
    written = shorten(_options(result)) + (f" (taught by {result.teaching} of other seeds)" if result.teaching else "")
    words = {"name": result.name, "written": written.strip(), "plan": result.plans[0]}
    return {**numbers, **words, "missed": misses(result), "partial": is_partial(result.name)}


def _options(result: Result) -> str:
    """Return what a method's name does not say of how it was run."""
    plain, _, given = result.name.partition(":")
    options = result.written.removeprefix(f"{plain}:").split(",") if result.written != result.name else []
    return ",".join(option for option in options if option not in given.split(","))


def shorten(written: str) -> str:
    """Leave long lists of numbers out of a method as it is written.

    Example:
        >>> shorten("ratios=(1.0, 1.0378, 1.0087, 1.0062, 0.94505, 0.96953),threshold=0.1")
        'ratios=(...),threshold=0.1'
    """
    return re.sub(r"\([^()]{30,}\)", "(...)", written)


def is_partial(name: str) -> bool:
    """Whether a method or a peer leaves out a part of the blocks only, so that NFE says little of its cost.

    Example:
        >>> is_partial("delta-dit:every=3"), is_partial("diffusers.pab"), is_partial("fora")
        (True, True, False)
    """
    plain = name.partition(":")[0]
    return peers.is_partial(plain) or (plain in REGISTRY and REGISTRY[plain].span == HALVES)


def _pictures(chapter: Chapter, compared: dict[int | None, Comparison | None]) -> list[dict[str, Any]]:
    names, pictures = chapter.names, list[dict[str, Any]]()

    def draw(caption: str, picture: Callable[[BytesIO], Any]) -> None:
        pictures.append({"caption": caption, **embed(picture)})

    if chapter.cells:
        draw("Fidelity over computed steps", lambda file: trends.tradeoff(chapter.results, file, named=names))
    for comparison in compared.values():
        if comparison is not None:
            _of_comparison(draw, comparison, names)
    for option, lines in chapter.swept().items():
        draw(f"Sweep: {option}", partial(trends.sweep, lines, option))
    if any(portrait["name"] == "uncached" for portrait in chapter.portraits):
        _of_portraits(draw, chapter.portraits, names)
    return pictures


Draw = Callable[[str, Callable[[BytesIO], Any]], None]


def _of_comparison(draw: Draw, comparison: Comparison, names: list[str]) -> None:
    nfe = comparison.results[1].wanted
    title = "As written" if nfe is None else f"{nfe} computed steps"
    draw(
        f"{title}: plans, and errors after every step",
        lambda file: figures.steps([comparison], file, title=f"{title}: plans and errors", named=names),
    )
    draw(
        f"{title}: images, and their differences from the uncached ones",
        lambda file: figures.grid(comparison, file, columns=COLUMNS, differences=AMPLIFIED, title=title),
    )


def _of_portraits(draw: Draw, recorded: list[dict[str, Any]], names: list[str]) -> None:
    draw("Trajectories", lambda file: portraits.trajectories(recorded, file, named=names))
    cosines = next((portrait["cosines"] for portrait in recorded if portrait["cosines"]), None)
    if cosines:
        draw("Similarity of features over steps", lambda file: portraits.similarity(cosines, file))


def _slider(chapter: Chapter) -> dict[str, Any] | None:
    """Images for the slider, each once, with what every method is called."""
    if not chapter.cells:
        return None
    first, cells = chapter.cells[0], sorted(chapter.cells, key=_order)
    return {
        "uncached": first["images"]["uncached"][: chapter.shown],
        "methods": [
            {
                "label": f"{line(cell['result']['name'])}, {cell['result']['nfe']:.3g} computed",
                "images": cell["images"]["result"][: chapter.shown],
            }
            for cell in cells
        ],
        "seeds": chapter.settings["seeds"][: chapter.shown],
    }


def _order(cell: dict[str, Any]) -> tuple[float, float]:
    """Few computed steps first, then the most faithful."""
    return cell["result"]["wanted"] or 0, -cell["result"]["psnr"]["mean"]


def embed(picture: Callable[[BytesIO], Any]) -> dict[str, Any]:
    """Draw a picture; returns it in base 64, and its width on the page, where an inch has 100 dots."""
    with BytesIO() as file:
        picture(file)
        png = file.getvalue()
    width = int.from_bytes(png[16:20], "big") * 100 // DPI
    return {"png": base64.b64encode(png).decode("ascii"), "width": width}


def _provenances(book: list[Chapter]) -> list[tuple[str, int]]:
    """Where the figures come from, and of how many cells."""
    counted = Counter(
        f"commit {p['commit'] or 'unknown'}; {p['device']}, {p['threads']} threads; "
        + ", ".join(f"{name} {version}" for name, version in p["versions"].items() if version)
        + f"; {p['date'][:10]}; {p['command']}"
        for chapter in book
        for p in chapter.provenances
    )
    return counted.most_common()
