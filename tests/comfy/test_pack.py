"""What a pack of nodes has to keep, read without ComfyUI: ids, inputs, translations, rules of the registry."""

from __future__ import annotations

import ast
import importlib
import json
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tomllib

PACK = Path(__file__).parents[2] / "comfyui"
LANGUAGES = ("en", "zh", "ja", "ko")
PARTS = ("latent_formats", "model_management", "model_patcher", "supported_models", "utils")
FORBIDDEN = {"eval", "exec", "compile", "__import__"}


class Part:
    """Stands for an input or an output of a node."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.id = args[0] if args else options.get("id")
        self.options = options


class Kind:
    """Stands for a type of ComfyUI's."""

    Input = Output = Part


class Inputs(types.SimpleNamespace):
    """Stands for ``comfy_api.latest.io``: what it is not told is a type."""

    def __getattr__(self, name: str) -> Any:
        return Kind


@pytest.fixture(scope="module")
def schemas() -> Iterator[dict[str, Any]]:
    """The schemas of all nodes, by their ids."""
    folders = {"padecast": ([], set[str]())}
    paths = types.SimpleNamespace(
        models_dir="models",
        folder_names_and_paths=folders,
        add_model_folder_path=lambda *_: None,
        get_filename_list=lambda _: [],
        get_full_path_or_raise=lambda *names: "/".join(names),
    )
    io = Inputs(
        ComfyNode=object,
        NodeOutput=lambda *args, **_: args,
        Schema=lambda **options: types.SimpleNamespace(**{"hidden": [], "outputs": [], **options}),
        Hidden=types.SimpleNamespace(unique_id="unique_id"),
    )
    latest = types.ModuleType("comfy_api.latest")
    vars(latest).update(io=io, ui=types.SimpleNamespace(PreviewText=str), ComfyExtension=object)
    stands = {"comfy_api": types.ModuleType("comfy_api"), "comfy_api.latest": latest, "folder_paths": paths}
    stands |= {name: types.ModuleType(name) for name in ("comfy", *(f"comfy.{part}" for part in PARTS))}
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stands.items():
            patch.setitem(sys.modules, name, module)  # type: ignore[arg-type]
        patch.syspath_prepend(str(PACK.parent))
        pack = importlib.import_module("comfyui")
        for part in PARTS:
            setattr(stands["comfy"], part, stands[f"comfy.{part}"])
        nodes = [*pack.NODES, *pack.DEMO_NODES]
        yield {schema.node_id: schema for schema in (node.define_schema() for node in nodes)}
        for name in [name for name in sys.modules if name.partition(".")[0] == "comfyui"]:
            del sys.modules[name]


def test_ids_are_those_that_workflows_have_saved(schemas: dict[str, Any]) -> None:
    """Never rename one, and put a new input at the end: saved workflows go by both."""
    saved = json.loads((PACK / "ids.json").read_text(encoding="utf-8"))
    assert [*schemas] == [*saved]
    for node, inputs in saved.items():
        assert [part.id for part in schemas[node].inputs][: len(inputs)] == inputs


def test_every_input_says_what_it_is_and_has_a_default(schemas: dict[str, Any]) -> None:
    connected = {"model", "latent", "reference", "image", "samples"}
    for node, schema in schemas.items():
        assert schema.description and schema.display_name and schema.category == "padecast", node
        for part in schema.inputs:
            assert part.options.get("tooltip"), (node, part.id)
            assert "default" in part.options or part.id in connected, (node, part.id)
        for part in schema.outputs:
            assert part.options.get("tooltip"), node


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_node_and_input(schemas: dict[str, Any], language: str) -> None:
    texts = json.loads((PACK / "locales" / language / "nodeDefs.json").read_text(encoding="utf-8"))
    assert {*texts} == {*schemas}
    for node, schema in schemas.items():
        assert {*texts[node]["inputs"]} == {part.id for part in schema.inputs}, node
        assert all(each["name"] and each["tooltip"] for each in texts[node]["inputs"].values())
    if language == "en":
        for node, schema in schemas.items():
            assert texts[node]["description"] == schema.description
            assert [each["tooltip"] for each in texts[node]["inputs"].values()] == [
                part.options["tooltip"] for part in schema.inputs
            ]


def test_every_node_has_a_page_of_help(schemas: dict[str, Any]) -> None:
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (PACK / "web" / "docs").glob("*.md")}
    assert {*pages} == {*schemas}
    assert all(text.startswith("# padecast") for text in pages.values())


def test_examples_use_nodes_of_comfyui_and_of_this_pack(schemas: dict[str, Any]) -> None:
    for path in (PACK / "example_workflows").glob("*.json"):
        workflow = json.loads(path.read_text(encoding="utf-8"))
        types_ = {node["type"] for node in workflow["nodes"]}
        assert {name for name in types_ if name.startswith("Padecast")} <= {*schemas}, path.name
        assert path.with_suffix(".jpg").is_file(), f"{path.name} has no picture"


def test_the_project_file_keeps_the_rules_of_the_registry() -> None:
    project = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
    about, comfy = project["project"], project["tool"]["comfy"]
    assert len(about["name"]) < 100 and "comfyui" not in about["name"].lower()
    assert about["version"].count(".") == 2 and about["license"] == {"text": "Apache-2.0"}
    assert comfy["DisplayName"] and comfy["requires-comfyui"]
    assert (PACK / "LICENSE").read_text() == (PACK.parent / "LICENSE").read_text()


def test_nothing_is_run_that_is_not_written_there() -> None:
    for path in PACK.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                assert not names & {"subprocess", "os.system", "urllib.request", "requests"}, path.name
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN, path.name
