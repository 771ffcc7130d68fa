"""The file of a lesson: one JSON document of some ten to a hundred kilobytes, validated when it is read."""

from __future__ import annotations

import base64
import binascii
import json
import re
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from padecast import files
from padecast._errors import DamagedFile
from padecast._noise import Noise
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
from padecast.lessons.gains import Gains
from padecast.lessons.identity import Identity
from padecast.lessons.lesson import LOOKS, Lesson
from padecast.lessons.look import DIGESTS, SINGLES, Array, Look, digest_of, root_of

KIND = "padecast lesson"
SCHEMA = 1
BOUNDS = files.Bounds(size=8 * 2**20, values=200_000, depth=8, text=2**20)
LONGEST, BRANCHES, MOST = 400, 16, 2**31
"""Steps, branches and samples that a look may have."""
DIGEST = re.compile("[0-9a-f]{12}")

FIELDS: dict[str, Kinds] = {"kind": str, "schema": int, "identity": dict, "looks": list}
IDENTITY: dict[str, Kinds] = {
    "model": str,
    "config": str,
    "weights": str,
    "adapters": list,
    "quantization": str,
    "pipeline": str,
    "guidance": (int, float, type(None)),
    "scales": list,
    "span": str,
    "prediction": str,
}
LOOK: dict[str, Kinds] = {
    "noise": dict,
    "timesteps": list,
    "samples": int,
    "runs": int,
    "grams": dict,
    "singles": list,
}
GAINS: dict[str, Kinds] = {"levels": list, "values": list, "ratios": list}
NOISE: dict[str, Kinds] = {"alphas": list, "sigmas": list, "gains": list, "size": (int, float)}


def pack(lesson: Lesson) -> dict[str, Any]:
    """Return plain data: matrices as triangular roots of means, in single precision, in base64."""
    identity = {name: getattr(lesson.identity, name) for name in IDENTITY}
    identity["adapters"] = [list(pair) for pair in lesson.identity.adapters]
    identity["scales"] = [list(pair) for pair in lesson.identity.scales]
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "identity": identity,
        "looks": [_pack_look(look) for look in lesson.looks],
        **({} if lesson.gains is None else {"gains": {name: list(getattr(lesson.gains, name)) for name in GAINS}}),
    }


def _pack_look(look: Look) -> dict[str, Any]:
    noise = {name: [_round(v) for v in getattr(look.noise, name)] for name in ("alphas", "sigmas", "gains")}
    return {
        "noise": {**noise, "size": look.noise.size},
        "timesteps": [_round(t) for t in look.timesteps],
        "samples": look.samples,
        "runs": look.runs,
        "grams": {name: encode(look.mean(name)) for name in look.grams},
        "singles": [encode(gram) for gram in look.singles],
        "digests": list(look.digests),
    }


def encode(gram: Array) -> str:
    """Write a symmetric matrix as the upper triangle of its root: float32, little-endian, base64."""
    root = root_of(gram)
    upper = root[np.triu_indices(len(root))].astype("<f4")
    return base64.b64encode(upper.tobytes()).decode("ascii")


def decode(refuse: Refuse, where: str, text: Any, steps: int) -> Array:
    """Read what :func:`encode` wrote; an error names the place."""
    if not isinstance(text, str):
        raise refuse(f"{where} is {type(text).__name__}, which is no text")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise refuse(f"{where} is no base64") from error
    count = steps * (steps + 1) // 2
    if len(data) != 4 * count:
        raise refuse(f"{where} has {len(data)} bytes, not {4 * count}")
    root = np.zeros((steps, steps))
    root[np.triu_indices(steps)] = np.frombuffer(data, dtype="<f4")
    if not np.isfinite(root).all() or np.abs(root).max(initial=0.0) > 1e15:
        raise refuse(f"{where} holds a number that is not finite, or huge")
    gram: Array = root.T @ root
    return gram


def write(path: Path, lesson: Lesson) -> Path:
    """Write a lesson, whole or not at all.

    Raises:
        UnwritableFile: If it cannot be written; the message says why.
    """
    return files.write(path, json.dumps(pack(lesson), indent=1) + "\n")


def read(path: Path) -> Lesson:
    """Read a lesson.

    Raises:
        MissingFile: If there is none; the message names the nearest.
        DamagedFile: If it is no lesson, is damaged, or of a later release; the message says which.
    """
    return unpack(path, files.read_json(path, BOUNDS))


def unpack(path: Path, document: Any) -> Lesson:
    """Check a document, and build the lesson.

    Args:
        path: For messages.
        document: Plain data.

    Raises:
        DamagedFile: Naming what is missing or wrong.
    """
    refuse = partial(_refuse, path)
    if not isinstance(document, dict) or document.get("kind") != KIND:
        raise refuse(f'it has no "kind": "{KIND}"')
    check_fields(refuse, "", document, FIELDS)
    if document["schema"] > SCHEMA:
        raise DamagedFile(
            f"the lesson {files.line(path, 400)} has schema {document['schema']}; this release of padecast reads up to "
            f"{SCHEMA}.\nUsual cause: it was made by a later release. Upgrade: pip install -U padecast"
        )
    check_whole(refuse, "schema", document["schema"], SCHEMA, SCHEMA)
    if len(document["looks"]) > LOOKS:
        raise refuse(f"looks has {len(document['looks'])} values, and {LOOKS} are possible")
    looks = tuple(_unpack_look(refuse, f"looks[{i}].", look) for i, look in enumerate(document["looks"]))
    gains = _unpack_gains(refuse, document["gains"]) if "gains" in document else None
    return Lesson(_unpack_identity(refuse, document["identity"]), looks, gains)


def _unpack_gains(refuse: Refuse, part: Any) -> Gains:
    check_fields(refuse, "gains.", part, GAINS)
    steps = len(part["levels"])
    check_whole(refuse, "steps of gains.levels", steps, 2, LONGEST)
    check_numbers(refuse, "gains.levels", part["levels"], steps, 0.0, 1.0)
    for name in ("values", "ratios"):
        check_numbers(refuse, f"gains.{name}", part[name], steps, 1e-12, 1e12)
    levels, values, ratios = (tuple(map(float, part[name])) for name in GAINS)
    if any(after >= level for level, after in pairwise(levels)):
        raise refuse("gains.levels do not fall")
    return Gains(levels, values, ratios)


def _unpack_identity(refuse: Refuse, part: dict[str, Any]) -> Identity:
    check_fields(refuse, "identity.", part, IDENTITY)
    if part["guidance"] is not None:
        check_number(refuse, "identity.guidance", part["guidance"])
    pairs = {name: _unpack_pairs(refuse, f"identity.{name}", part[name]) for name in ("adapters", "scales")}
    guidance = None if part["guidance"] is None else float(part["guidance"])
    return Identity(**{**{name: part[name] for name in IDENTITY}, **pairs, "guidance": guidance})


def _unpack_pairs(refuse: Refuse, where: str, pairs: list[Any]) -> tuple[tuple[str, float], ...]:
    """Read names with a number each."""
    if len(pairs) > 1000:
        raise refuse(f"{where} has more than 1000 values")
    for index, pair in enumerate(pairs):
        check_count(refuse, f"{where}[{index}]", pair, 2)
        check_texts(refuse, f"{where}[{index}]", pair[:1])
        check_number(refuse, f"{where}[{index}]", pair[1])
    return tuple((name, float(scale)) for name, scale in pairs)


def _unpack_look(refuse: Refuse, where: str, part: Any) -> Look:
    check_fields(refuse, where, part, LOOK)
    check_whole(refuse, f"{where}samples", part["samples"], 1, MOST)
    check_whole(refuse, f"{where}runs", part["runs"], 1, MOST)
    steps = len(part["timesteps"])
    check_whole(refuse, f"steps of {where}timesteps", steps, 1, LONGEST)
    check_numbers(refuse, f"{where}timesteps", part["timesteps"], steps)
    noise = _unpack_noise(refuse, f"{where}noise.", part["noise"], steps)
    if not 1 <= len(part["grams"]) <= BRANCHES:
        raise refuse(f"{where}grams has {len(part['grams'])} values, and 1 to {BRANCHES} are possible")
    if not 1 <= len(part["singles"]) <= min(SINGLES, part["samples"]):
        raise refuse(f"{where}singles has {len(part['singles'])} values of {part['samples']} samples")
    grams = {
        name: decode(refuse, f"{where}grams.{files.line(name, 40)}", text, steps) * part["samples"]
        for name, text in part["grams"].items()
    }
    singles = [decode(refuse, f"{where}singles[{i}]", text, steps) for i, text in enumerate(part["singles"])]
    timesteps = tuple(map(float, part["timesteps"]))
    matrices, digests = np.stack(singles), _unpack_digests(refuse, where, part)
    return Look(noise, timesteps, grams, matrices, part["samples"], part["runs"], digests or (digest_of(matrices),))


def _unpack_digests(refuse: Refuse, where: str, part: dict[str, Any]) -> tuple[str, ...]:
    """Read the digests of runs; files of before have none."""
    digests = part.get("digests", [])
    check_texts(refuse, f"{where}digests", digests, most=DIGESTS)
    for text in digests:
        if not DIGEST.fullmatch(text):
            raise refuse(f"{where}digests holds {files.line(repr(text), 60)}, which is no digest")
    return tuple(digests)


def _unpack_noise(refuse: Refuse, where: str, part: dict[str, Any], steps: int) -> Noise:
    check_fields(refuse, where, part, NOISE)
    for name in ("alphas", "sigmas"):
        check_numbers(refuse, f"{where}{name}", part[name], steps + 1, 0.0, 1e6)
    check_numbers(refuse, f"{where}gains", part["gains"], steps if part["gains"] else 0, 0.0, 1e6)
    check_number(refuse, f"{where}size", part["size"], 1.0, 1e15)
    alphas, sigmas, gains = (tuple(map(float, part[name])) for name in ("alphas", "sigmas", "gains"))
    noise = Noise(alphas, sigmas, float(part["size"]), gains)
    # Solvers that evaluate twice at a level have it twice.
    if any(after > level for level, after in zip(noise.levels, noise.levels[1:-1], strict=False)):
        raise refuse(f"{where}sigmas do not fall over {where}alphas")
    return noise


def _round(value: float) -> float:
    return float(f"{value:.9g}")


def _refuse(path: Path, fact: str) -> DamagedFile:
    error = DamagedFile(
        f"{files.line(path, 400)} is no lesson that can be used: {fact}.\n"
        "Usual cause: another file, or one that was edited or cut off. Remove it: the next run teaches anew."
    )
    error.fact = fact
    return error
