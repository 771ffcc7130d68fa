"""The examples of the pack, read as ComfyUI's page reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "comfyui" / "example_workflows"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
DEMOS = [name for name in NAMES if name.startswith("demo")]
"""Those that run without a download."""
NOTES = ("MarkdownNote", "Note")
"""Nodes of the page alone."""
FILES = {
    "unet_name": "diffusion_models",
    "clip_name": "text_encoders",
    "clip_name1": "text_encoders",
    "clip_name2": "text_encoders",
    "vae_name": "vae",
    "control_net_name": "controlnet",
}
"""Inputs that name files, and in which folder of models these lie."""
ADDED = {"seed": ("fixed", "randomize", "increment", "decrement")}
"""What the page adds after the values of some widgets: what becomes of a seed."""
BUTTONS = ("upload",)
"""Inputs of the page alone."""


def read(name: str) -> dict[str, Any]:
    """Return an example by its name."""
    document: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return document


def nodes_of(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the nodes that run."""
    return [node for node in workflow["nodes"] if node["type"] not in NOTES]


def values_of(node: dict[str, Any]) -> dict[str, Any]:
    """Return the values of a node's widgets by their names.

    Raises:
        ValueError: If there are more or fewer than widgets.
    """
    names = [each["name"] for each in node["inputs"] if "widget" in each]
    values = list(node.get("widgets_values", []))
    found = {}
    for name in names:
        found[name] = values.pop(0)
        if values and values[0] in ADDED.get(name, ()):
            values.pop(0)
    if values:
        raise ValueError(f"{node['type']}: {values} belong to no widget of {names}")
    return {name: value for name, value in found.items() if name not in BUTTONS}


def prompt_of(workflow: dict[str, Any]) -> dict[str, Any]:
    """Return what the page sends to run a workflow."""
    links = {link[0]: [str(link[1]), link[2]] for link in workflow["links"]}
    prompt = {}
    for node in nodes_of(workflow):
        joined = {each["name"]: links[each["link"]] for each in node["inputs"] if each["link"] is not None}
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": {**values_of(node), **joined}}
    return prompt


def files_of(name: str) -> set[tuple[str, str]]:
    """Return folder and name of the files that an example loads."""
    found = set()
    for node in nodes_of(read(name)):
        values = values_of(node)
        found |= {(folder, values[key]) for key, folder in FILES.items() if key in values}
    return found


def touch_files(folder: Path) -> None:
    """Make empty files of the names that examples load, below a folder, so that the page finds them in its lists."""
    for name in NAMES:
        for place, file in files_of(name):
            path = folder / "models" / place / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
