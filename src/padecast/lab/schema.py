"""What the file of a finished cell must hold, checked when a report reads it, so that damage is named."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from padecast._errors import InvalidOption, PadecastError
from padecast.files import line
from padecast.files.fields import (
    Kinds,
    Refuse,
    check_count,
    check_fields,
    check_number,
    check_numbers,
    check_texts,
    check_whole,
)
from padecast.lab.pixels import size_of

NUMBER: Kinds = (int, float)
LOST: Kinds = (int, float, type(None))
"""A number that JSON may have no word for: ``null`` stands for one that is not finite."""
STEPS, SEEDS, LONGEST = 10_000, 100_000, 2**31
DECIBELS = 10_000.0
KINDS = ("measure", "sweep", "portrait")

CELL: Mapping[str, Kinds] = {"kind": str, "chosen": str, "wanted": LOST, "option": str, "source": dict, "setting": dict}
PROVENANCE: Mapping[str, Kinds] = {
    "commit": (str, type(None)),
    "versions": dict,
    "device": str,
    "threads": int,
    "date": str,
    "command": str,
}
SETTINGS: Mapping[str, Kinds] = {
    "name": str,
    "pipeline": str,
    "model": str,
    "scheduler": str,
    "sampling": (dict, str),
    "steps": int,
    "seeds": list,
    "development": list,
    "batch": int,
    "dtype": str,
    "device": str,
}
RESULT: Mapping[str, Kinds] = {
    "name": str,
    "written": str,
    "wanted": LOST,
    "nfe": NUMBER,
    "ideal": NUMBER,
    "plans": list,
    "psnr": dict,
    "ssim": dict,
    "seconds": LOST,
    "denoiser_seconds": LOST,
    "speedup": LOST,
    "denoiser_speedup": LOST,
    "calls_timed": int,
    "seconds_range": list,
    "errors": list,
}
LATER: Mapping[str, Kinds] = {
    "history_bytes": int,
    "peak_bytes": (int, type(None)),
    "flops_share": LOST,
    "scores": dict,
}
"""Fields of a result that have a default."""
SPREAD: Mapping[str, Kinds] = {"mean": NUMBER, "p5": NUMBER, "worst": NUMBER}
REFUSAL: Mapping[str, Kinds] = {"name": str, "wanted": LOST, "why": str}
PORTRAIT: Mapping[str, Kinds] = {"name": str, "seeds": list, "path": list, "errors": list, "cosines": dict}


def validate(path: Path, document: dict[str, Any]) -> None:
    """Check the document of a finished cell.

    Raises:
        InvalidOption: Naming the file, and what is missing or wrong in it.
    """
    refuse = partial(reject, path)
    check_fields(refuse, "", document, {"cell": dict, "settings": dict, "provenance": dict})
    if "experiment" in document:
        check_fields(refuse, "", document, {"experiment": str})
    check_fields(refuse, "cell.", document["cell"], CELL)
    kind = document["cell"]["kind"]
    if kind not in KINDS:
        raise refuse(f"cell.kind is {line(kind, 40)!r}, where {', '.join(KINDS)} are possible")
    if kind == "sweep" and not document["cell"]["option"]:
        raise refuse("cell.option is empty, though the cell is of a sweep")
    _check_settings(refuse, document["settings"])
    _check_provenance(refuse, document["provenance"])
    if "refusal" in document:
        check_fields(refuse, "refusal.", document["refusal"], REFUSAL)
    elif kind == "portrait":
        check_fields(refuse, "", document, {"portrait": dict})
        _check_portrait(refuse, document["portrait"])
    else:
        check_fields(refuse, "", document, {"uncached": dict, "result": dict, "images": dict})
        for part in ("uncached", "result"):
            _check_result(refuse, part, document[part])
        _check_images(refuse, document["images"])


def reject(path: Path, what: str) -> InvalidOption:
    """Build the error for a cell that cannot be shown."""
    return InvalidOption(f"{line(path, 400)} is damaged: {what}.\nRemove it, and run the experiment again.")


def _check_settings(refuse: Refuse, settings: dict[str, Any]) -> None:
    check_fields(refuse, "settings.", settings, SETTINGS)
    check_whole(refuse, "settings.steps", settings["steps"], 1, STEPS)
    check_whole(refuse, "settings.batch", settings["batch"], 1, SEEDS)
    for name in ("seeds", "development"):
        check_numbers(refuse, f"settings.{name}", settings[name])


def _check_provenance(refuse: Refuse, provenance: dict[str, Any]) -> None:
    check_fields(refuse, "provenance.", provenance, PROVENANCE)
    for package, version in provenance["versions"].items():
        if not isinstance(version, (str, type(None))):
            raise refuse(f"provenance.versions.{line(package, 40)} is {type(version).__name__}")


def _check_result(refuse: Refuse, where: str, result: dict[str, Any]) -> None:
    check_fields(refuse, f"{where}.", result, RESULT)
    check_fields(refuse, f"{where}.", result, {name: kind for name, kind in LATER.items() if name in result})
    check_texts(refuse, f"{where}.plans", result["plans"], least=1, most=SEEDS)
    check_number(refuse, f"{where}.nfe", result["nfe"], 1e-3, STEPS * 100)
    check_number(refuse, f"{where}.ideal", result["ideal"], 1e-6, 1e6)
    check_whole(refuse, f"{where}.calls_timed", result["calls_timed"], 0, LONGEST)
    for name in ("psnr", "ssim"):
        check_fields(refuse, f"{where}.{name}.", result[name], SPREAD)
        for measure in SPREAD:
            check_number(refuse, f"{where}.{name}.{measure}", result[name][measure], -DECIBELS, DECIBELS)
    for name in ("wanted", "seconds", "denoiser_seconds", "speedup", "denoiser_speedup", "flops_share"):
        _check_lost(refuse, f"{where}.{name}", result.get(name))
    check_count(refuse, f"{where}.seconds_range", result["seconds_range"], 2)
    for name in ("seconds_range", "errors"):
        for place, value in enumerate(result[name][: STEPS + 1]):
            _check_lost(refuse, f"{where}.{name}[{place}]", value)
    if len(result["errors"]) > STEPS:
        raise refuse(f"{where}.errors has {len(result['errors'])} values, and {STEPS} are possible")
    for name, value in result.get("scores", {}).items():
        _check_lost(refuse, f"{where}.scores.{line(name, 40)}", value)


def _check_lost(refuse: Refuse, where: str, value: Any) -> None:
    if value is not None:
        check_number(refuse, where, value, -1e30, 1e30)


def _check_images(refuse: Refuse, images: dict[str, Any]) -> None:
    """Check that all images of a cell are PNGs of one size."""
    sizes: dict[tuple[int, ...], str] = {}
    check_fields(refuse, "images.", images, {"uncached": list, "result": list})
    for name in ("uncached", "result"):
        check_texts(refuse, f"images.{name}", images[name], least=1, most=STEPS)
        for place, text in enumerate(images[name]):
            where = f"images.{name}[{place}]"
            try:
                sizes.setdefault(size_of(text), where)
            except PadecastError as error:
                raise refuse(f"{where} is {error}") from error
    if len(sizes) > 1:
        (shape, first), (other, second), *_ = sizes.items()
        raise refuse(f"{second} has shape {other}, and {first} has {shape}")


def _check_portrait(refuse: Refuse, portrait: dict[str, Any]) -> None:
    check_fields(refuse, "portrait.", portrait, PORTRAIT)
    check_numbers(refuse, "portrait.seeds", portrait["seeds"])
    path = portrait["path"]
    if not path or len(path) > STEPS:
        raise refuse(f"portrait.path has {len(path)} steps, where 1 to {STEPS} are possible")
    wide = len(path[0][0]) if isinstance(path[0], list) and path[0] and isinstance(path[0][0], list) else 0
    if wide < 2 or not portrait["seeds"]:
        raise refuse("portrait.path has no latents")
    for step, samples in enumerate(path):
        _check_matrix(refuse, f"portrait.path[{step}]", samples, len(portrait["seeds"]), wide)
    if portrait["cosines"]:
        check_fields(refuse, "portrait.cosines.", portrait["cosines"], {"residuals": list, "outputs": list})
        for name in ("residuals", "outputs"):
            rows = portrait["cosines"][name]
            if len(rows) < 2:
                raise refuse(f"portrait.cosines.{name} has {len(rows)} rows, where 2 or more are needed")
            _check_matrix(refuse, f"portrait.cosines.{name}", rows, len(rows), len(rows))


def _check_matrix(refuse: Refuse, where: str, rows: Any, high: int, wide: int) -> None:
    check_count(refuse, where, rows, high)
    for place, row in enumerate(rows):
        check_count(refuse, f"{where}[{place}]", row, wide)
        for value in row:
            _check_lost(refuse, f"a value of {where}[{place}]", value)
