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
from xml.etree import ElementTree

import pytest
import tomllib
from PIL import Image
from tests.comfy import workflows

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


CORE = {
    *("CLIPLoader", "CLIPTextEncode", "Canny", "ConditioningZeroOut", "ControlNetApplyAdvanced", "ControlNetLoader"),
    *("CreateVideo", "DualCLIPLoader", "EmptyHunyuanLatentVideo", "EmptySD3LatentImage", "FluxGuidance"),
    *("ImageScaleToTotalPixels", "KSampler", "LoadImage", "MarkdownNote", "ModelSamplingSD3", "PreviewImage"),
    *("SaveAnimatedWEBP", "SaveImage", "SaveVideo", "UNETLoader", "VAEDecode", "VAEEncode", "VAELoader"),
}
"""ComfyUI's own nodes that examples use; `make comfy-server` asks it for them."""


def test_33_there_are_examples_of_images_clips_and_control() -> None:
    wanted = {"demo_text_to_image", "demo_image_to_image", "demo_motion"}
    real = {"flux_text_to_image", "flux_image_to_image", "flux_controlnet", "wan_text_to_video"}
    assert {*workflows.NAMES} == wanted | real and {*workflows.DEMOS} == wanted


@pytest.mark.parametrize("name", workflows.NAMES)
def test_33_examples_use_nodes_of_comfyui_and_of_this_pack(schemas: dict[str, Any], name: str) -> None:
    nodes = workflows.read(name)["nodes"]
    assert {node["type"] for node in nodes} <= {*schemas} | CORE
    assert {"Padecast", "PadecastReport"} <= {node["type"] for node in nodes}
    assert not [node for node in nodes if "demo" not in name and node["type"].startswith("PadecastDemo")]


@pytest.mark.parametrize("name", workflows.NAMES)
def test_33_values_in_examples_are_those_of_the_nodes_inputs(schemas: dict[str, Any], name: str) -> None:
    for node in workflows.nodes_of(workflows.read(name)):
        values = workflows.values_of(node)
        if node["type"] not in schemas:
            continue
        inputs = {each.id: each.options for each in schemas[node["type"]].inputs}
        assert [each["name"] for each in node["inputs"]] == [*inputs], node
        for key, value in values.items():
            options = inputs[key]
            assert value in options.get("options", [value]), (node["type"], key)
            if "min" in options:
                assert options["min"] <= value <= options["max"], (node["type"], key)


@pytest.mark.parametrize("name", workflows.NAMES)
def test_33_links_in_examples_join_what_is_there(name: str) -> None:
    workflow = workflows.read(name)
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for number, source, output, target, place, kind in workflow["links"]:
        assert number in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][place]["link"] == number
        assert nodes[source]["outputs"][output]["type"] == nodes[target]["inputs"][place]["type"] == kind
    ends = [each["link"] for node in nodes.values() for each in node["inputs"] if each["link"] is not None]
    assert sorted(ends) == sorted(link[0] for link in workflow["links"])


@pytest.mark.parametrize("name", workflows.NAMES)
def test_33_nodes_in_examples_do_not_lie_on_one_another(name: str) -> None:
    boxes = [
        (node["pos"][0], node["pos"][1] - 30, node["pos"][0] + node["size"][0], node["pos"][1] + node["size"][1])
        for node in workflows.read(name)["nodes"]
    ]
    for place, one in enumerate(boxes):
        for other in boxes[place + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


@pytest.mark.parametrize("name", workflows.NAMES)
def test_33_examples_have_a_picture_for_the_list_of_templates(name: str) -> None:
    with Image.open(workflows.FOLDER / f"{name}.jpg") as picture:
        assert picture.format == "JPEG" and min(picture.size) >= 300
    assert (workflows.FOLDER / f"{name}.jpg").stat().st_size < 200_000


def test_the_project_file_keeps_the_rules_of_the_registry() -> None:
    project = tomllib.loads((PACK / "pyproject.toml").read_text(encoding="utf-8"))
    about, comfy = project["project"], project["tool"]["comfy"]
    assert len(about["name"]) < 100 and "comfyui" not in about["name"].lower()
    assert about["version"].count(".") == 2 and about["license"] == {"text": "Apache-2.0"}
    assert comfy["DisplayName"] and comfy["requires-comfyui"]
    assert "Repository" not in project.get("urls", {})  # until there is one
    picture = ElementTree.parse(PACK / comfy["Icon"]).getroot()
    assert picture.tag.endswith("svg") and picture.get("width") == picture.get("height") == "400"
    assert (PACK / "LICENSE").read_text() == (PACK.parent / "LICENSE").read_text()


def test_nothing_is_run_that_is_not_written_there() -> None:
    for path in PACK.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None) or ""}
                assert not names & {"subprocess", "os.system", "urllib.request", "requests"}, path.name
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id not in FORBIDDEN, path.name
