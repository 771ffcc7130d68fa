"""What of a measurement is fit to be shown to others: figures, and no prompt, path, name or command of the user's."""

from __future__ import annotations

import dataclasses
import getpass
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from padecast.calibration.provenance import Provenance
from padecast.files import line
from padecast.lab.kit import ladder
from padecast.lab.kit.families import CLIPS, FAMILIES, PICTURES
from padecast.lab.results import Refusal, Result
from padecast.lessons import Lesson
from padecast.lessons.file import pack
from padecast.report import finite
from padecast.targets.pipelines import fingerprint, models_of

KIND, SCHEMA = "padecast measurement", 1
SETTINGS = ("pipeline", "model", "scheduler", "steps", "seeds", "development", "batch", "dtype", "device")
"""What is shown of what was sampled; of its call see :func:`show_call`."""
COMMAND = "padecast measure"
PATH = re.compile(r"\S*[/\\~@]\S*")


class Veil:
    """Hides from texts what is the user's own.

    Args:
        secrets: Texts that are hidden wherever they stand, such as prompts.

    Example:
        >>> Veil(["a red fox"]).hide("no a red fox in /home/ann/models/x.json of host:8000")
        'no (hidden) in (hidden) of host:8000'
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        words = {text.strip() for text in (*secrets, platform.node(), _user()) if len(text.strip()) > 1}
        longest_first = sorted(words, key=len, reverse=True)  # one secret may be a part of another
        alternatives = "|".join(map(re.escape, longest_first))
        self._secrets = re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE) if words else None

    def hide(self, text: str, most: int = 300) -> str:
        """Return a text without secrets, and without anything that may be a path, an address or a name on the Hub."""
        shown = text if self._secrets is None else self._secrets.sub("(hidden)", text)
        return line(PATH.sub("(hidden)", shown), most)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return ""


def show_call(sampling: Mapping[str, Any], public: Sequence[str]) -> dict[str, Any]:
    """Return how a pipeline was called: numbers as they are, prompts if they ship, and of all else that it is there.

    Args:
        sampling: A :class:`padecast.lab.calls.Sampling` as plain data.
        public: Prompts that ship.

    Example:
        >>> show_call({"prompts": ["mine"], "guidance": 3.5, "arguments": {"height": 64, "negative_prompt": "x"}}, ())
        {'prompts': '1 of the user', 'guidance': 3.5, 'height': 64, 'negative_prompt': 'not shown'}
    """
    prompts = list(sampling.get("prompts") or ())
    shown: dict[str, Any] = {}
    if prompts:
        shown["prompts"] = prompts if set(prompts) <= {*public} else f"{len(prompts)} of the user"
    for name in ("classes", "guidance", "shift"):
        if sampling.get(name) not in (None, (), []):
            shown[name] = sampling[name]
    for name, value in (sampling.get("arguments") or {}).items():
        is_number = isinstance(value, (bool, int, float)) or not str(value).strip()
        shown[name] = value if is_number else "not shown"
    return shown


def show_cell(document: Mapping[str, Any], veil: Veil, name: str, public: Sequence[str]) -> dict[str, Any]:
    """Return a finished cell with nothing in it that is the user's, but for its images.

    Args:
        document: As the lab wrote it.
        veil: Hides texts.
        name: What the pipeline is called.
        public: Prompts that ship.
    """
    settings, provenance = document["settings"], document["provenance"]
    call = show_call(settings["sampling"], public)
    shown: dict[str, Any] = {
        "cell": {key: document["cell"][key] for key in ("kind", "chosen", "wanted", "option")} | NOWHERE,
        "settings": {"name": name, "sampling": call} | {key: settings[key] for key in SETTINGS},
        "provenance": {
            field.name: provenance[field.name] for field in dataclasses.fields(Provenance) if field.name in provenance
        }
        | {"command": COMMAND},
    }
    if "refusal" in document:
        refusal = document["refusal"]
        return {**shown, "refusal": {**refusal, "why": veil.hide(refusal["why"])}}
    for part in ("uncached", "result"):
        shown[part] = {**document[part], "written": veil.hide(document[part]["written"], 1000)}
    return {**shown, "images": document["images"]}


NOWHERE: dict[str, Any] = {"source": {}, "setting": {}}


def describe_model(pipe: Any, name: str) -> dict[str, Any]:
    """Return what a pipeline is: classes, a hash of its configuration, how many parameters."""
    model = models_of(pipe)[0]
    return {
        "name": name,
        "pipeline": type(pipe).__name__,
        "model": type(model).__name__,
        "configuration": fingerprint(model),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "scheduler": type(getattr(pipe, "scheduler", None)).__name__,
    }


def show_lesson(lesson: Lesson | None) -> dict[str, Any] | None:
    """Return a lesson as plain data, its adapters without their names."""
    if lesson is None:
        return None
    adapters = tuple((f"adapter {place}", scale) for place, (_, scale) in enumerate(lesson.identity.adapters, 1))
    identity = dataclasses.replace(lesson.identity, adapters=adapters)
    return pack(dataclasses.replace(lesson, identity=identity))


def compose(
    cells: Sequence[Mapping[str, Any]],
    *,
    model: Mapping[str, Any],
    price: Mapping[str, Any],
    change: Sequence[float] = (),
    lesson: Lesson | None = None,
    absent: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return what is shared, as plain data.

    Args:
        cells: As :func:`show_cell` returned them.
        model: What it is of, see :func:`describe_model`.
        price: What it took.
        change: Of the output from step to step.
        lesson: What an uncached run taught.
        absent: What was not measured, and why.
    """
    first = cells[0]
    results = [Result.from_dict(cell["result"]) for cell in cells if "result" in cell]
    uncached = next((cell["uncached"] for cell in cells if "uncached" in cell), None)
    rows = [*([uncached] if uncached else []), *(cell["result"] for cell in cells if "result" in cell)]
    plain: dict[str, Any] = finite(
        {
            "kind": KIND,
            "schema": SCHEMA,
            "model": dict(model),
            "settings": {key: value for key, value in first["settings"].items() if key != "name"},
            "price": dict(price),
            "ladder": ladder.summarize(results, change),
            "results": rows,
            "refusals": [
                dataclasses.asdict(Refusal(**{f.name: cell["refusal"][f.name] for f in dataclasses.fields(Refusal)}))
                for cell in cells
                if "refusal" in cell
            ],
            "absent": [dict(row) for row in absent],
            "lesson": show_lesson(lesson),
            "provenance": first["provenance"],
        }
    )
    return plain


def list_public(prompts: Iterable[str] = ()) -> tuple[str, ...]:
    """Return prompts that ship: those of all families, and of a demo those that it is given."""
    return tuple(
        dict.fromkeys((*PICTURES, *CLIPS, *(p for family in FAMILIES.values() for p in family.prompts), *prompts))
    )
